/** The error of a request that finds every sequence in use and the queue full. */
import { FlashwickError } from "@flashwick/core";

/** Longest wait that a client is told, seconds: an estimate beyond it says nothing. */
const MAX_RETRY_SECONDS = 600;

/** How many requests wait, and when to try again. */
export interface QueueFullDetails extends Readonly<Record<string, unknown>> {
  /** Requests that wait already. */
  readonly waiting: number;
  /** When a place in the queue is likely to be free, from what recent texts took; an integer of at least 1. */
  readonly retryAfterSeconds: number;
}

/** Every sequence is in use and the queue is full: `QUEUE_FULL`. */
export class QueueFullError extends FlashwickError {
  override readonly name = "QueueFullError";
  declare readonly details: QueueFullDetails;

  constructor(details: QueueFullDetails) {
    const { waiting, retryAfterSeconds } = details;
    super(
      "QUEUE_FULL",
      `every sequence is in use and ${waiting} requests wait, as many as may; try again in about ${retryAfterSeconds} s, or open the scheduler with ` +
        "more maxQueue, or the model with more maxSequences",
      { details },
    );
  }
}

/**
 * Seconds until one of `waiting` requests leaves the queue.
 *
 * @param textMs    What a text takes; 0 if none has ended yet.
 * @param sequences Texts that run at once.
 */
export function retryAfterSeconds(textMs: number, sequences: number): number {
  return Math.min(MAX_RETRY_SECONDS, Math.max(1, Math.ceil(textMs / sequences / 1000)));
}
