/**
 * Gives a token's steps time: one calling thread that computes and waits, one device that reads beside it. The next event is always the
 * earlier of the step's own end and the next end of a read; a read that ends in the same moment comes first.
 *
 * Both slow each other as the profile says: reads go on at `shareUnderCompute` of their pace while anything is computed, arithmetic at
 * `computeShareUnderReads` while reads fly at full depth, and in proportion when fewer do.
 */
import { assert, type Random } from "@flashwick/core";
import type { FlashProfile } from "../device-profile.js";
import { type Jitter, LognormalFactor } from "./jitter.js";
import { type IssuedBatch, ReadQueue } from "./read-queue.js";
import { PHASES, type Phase, type Step } from "./token-steps.js";

/** Milliseconds unless the name says otherwise. */
export interface SimulatedToken {
  readonly totalMs: number;
  /** Where it went; the sum is `totalMs`. */
  readonly phases: Readonly<Record<Phase, number>>;
  /** At least one read in flight. */
  readonly readBusyMs: number;
  /** Anything computed or decided. */
  readonly computeBusyMs: number;
  /** Of reads that ended in this token. */
  readonly flashBytes: number;
  readonly flashReads: number;
  /** Wrong guesses that never began. */
  readonly droppedReads: number;
}

/** The queue from this moment on. */
export interface QueuePoint {
  readonly token: number;
  /** Since the run's beginning. */
  readonly atMs: number;
  readonly inFlight: number;
  readonly waiting: number;
}

/** What two things at once leave of each other where the profile does not know. As in pass-cost.ts. */
const UNKNOWN_SHARE = 0.5;

export class Pipeline {
  /** Milliseconds with so many reads in flight, `[depth + 1]`. */
  readonly inFlightMs: Float64Array;
  readonly #queue: ReadQueue;
  readonly #depth: number;
  readonly #readShare: number;
  readonly #computeShare: number;
  readonly #pace: LognormalFactor;
  readonly #random: Random;
  readonly #phases = Object.fromEntries(PHASES.map((phase) => [phase, 0])) as Record<Phase, number>;
  #wanted: IssuedBatch[] = [];
  #wrong: IssuedBatch[] = [];
  #nowMs = 0;
  #token = 0;
  #watch: ((point: QueuePoint) => void) | null = null;

  constructor(flash: FlashProfile, depth: number, jitter: Jitter | null, random: Random) {
    this.#depth = depth;
    this.#readShare = flash.shareUnderCompute ?? UNKNOWN_SHARE;
    this.#computeShare = flash.computeShareUnderReads ?? UNKNOWN_SHARE;
    this.#queue = new ReadQueue(depth, jitter?.readSigma ?? 0, random);
    this.#pace = new LognormalFactor(jitter?.tokenSigma ?? 0);
    this.#random = random;
    this.inFlightMs = new Float64Array(depth + 1);
  }

  /** Reads that are still on their way when a token ends (wrong guesses) are the next one's. */
  run(steps: readonly Step[], watch: ((point: QueuePoint) => void) | null = null): SimulatedToken {
    const { tally } = this.#queue;
    const before = { ...tally, nowMs: this.#nowMs, idleMs: this.inFlightMs[0]! };
    for (const phase of PHASES) this.#phases[phase] = 0;
    this.#watch = watch;
    this.#queue.slowDown(this.#pace.draw(this.#random));
    for (const step of steps) this.#take(step);
    assert(this.#wanted.length === 0, "a token ended while it was waiting for reads");
    this.#token++;
    const totalMs = this.#nowMs - before.nowMs;
    const phases = { ...this.#phases };
    return {
      totalMs,
      phases,
      readBusyMs: totalMs - (this.inFlightMs[0]! - before.idleMs),
      computeBusyMs: totalMs - phases.wait,
      flashBytes: tally.endedBytes - before.endedBytes,
      flashReads: tally.endedReads - before.endedReads,
      droppedReads: tally.droppedReads - before.droppedReads,
    };
  }

  #take(step: Step): void {
    if (step.kind === "compute") this.#compute(step.phase, step.ms);
    else if (step.kind === "wait") this.#wait();
    else if (step.kind === "drop") {
      for (const batch of this.#wrong) this.#queue.drop(batch);
      this.#wrong = [];
      this.#look();
    } else {
      const batch = this.#queue.issue(step.batch);
      (step.name === "wanted" ? this.#wanted : this.#wrong).push(batch);
      this.#look();
    }
  }

  /** @param ms Without reads beside it. */
  #compute(phase: Phase, ms: number): void {
    const began = this.#nowMs;
    let restMs = ms;
    while (restMs > 0) {
      const speed = 1 - ((1 - this.#computeShare) * this.#queue.inFlight) / this.#depth;
      const readMs = this.#queue.untilNextMs(this.#readShare);
      const endsFirst = readMs * speed > restMs;
      this.#pass(endsFirst ? restMs / speed : readMs, this.#readShare, !endsFirst);
      restMs = endsFirst ? 0 : restMs - readMs * speed;
    }
    this.#phases[phase] += this.#nowMs - began;
  }

  /** Until all wanted reads are there, and the caller knows. */
  #wait(): void {
    const began = this.#nowMs;
    while (this.#wanted.some(({ remaining }) => remaining > 0)) this.#pass(this.#queue.untilNextMs(1), 1, true);
    const until = Math.max(this.#nowMs, ...this.#wanted.map(({ endedMs, lateMs }) => endedMs + lateMs));
    this.#wanted = [];
    while (this.#nowMs < until) {
      const readMs = this.#queue.untilNextMs(1);
      const endsFirst = this.#nowMs + readMs > until;
      this.#pass(endsFirst ? until - this.#nowMs : readMs, 1, !endsFirst);
      if (endsFirst) this.#nowMs = until;
    }
    this.#phases.wait += this.#nowMs - began;
  }

  /** @param readEnds At the end of this time. */
  #pass(ms: number, share: number, readEnds: boolean): void {
    assert(ms >= 0 && ms < Number.POSITIVE_INFINITY, "time neither stands nor runs back");
    this.inFlightMs[this.#queue.inFlight]! += ms;
    this.#nowMs += ms;
    if (readEnds) {
      this.#queue.endNext(this.#nowMs);
      this.#look();
    } else this.#queue.pass(ms, share);
  }

  #look(): void {
    if (this.#watch === null) return;
    const { inFlight, waiting } = this.#queue;
    this.#watch({ token: this.#token, atMs: this.#nowMs, inFlight, waiting });
  }
}
