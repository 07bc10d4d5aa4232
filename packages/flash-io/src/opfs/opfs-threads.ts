/** A reader worker of a page. */
import type { MemoryMessage, ReaderThread, ThreadEvents, ThreadSetup } from "../threads/reader-threads.js";

/** The first message to opfs-reader-worker.js; {@link MemoryMessage}s follow. */
export interface OpfsThreadSetup extends ThreadSetup {
  readonly file: FileSystemFileHandle;
}

/** What the worker says. */
type WorkerMessage = { readonly ready: true } | { readonly failed: string } | { readonly ended: true };

export class OpfsThread implements ReaderThread {
  readonly #events: ThreadEvents;

  constructor(
    private readonly worker: Worker,
    setup: OpfsThreadSetup,
    events: ThreadEvents,
  ) {
    this.#events = events;
    worker.onerror = (event) => this.#fail(event.message || "its script could not be loaded");
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
      if ("ready" in data) events.ready();
      else if ("failed" in data) this.#fail(data.failed);
      else events.ended("ended");
    };
    worker.postMessage(setup);
  }

  post(message: MemoryMessage): void {
    this.worker.postMessage(message);
  }

  terminate(): void {
    this.worker.terminate();
    this.#events.ended("was terminated");
  }

  /** A page hears of a worker's error, never of its end: so it is ended here. */
  #fail(message: string): void {
    this.#events.failed(new Error(message));
    this.terminate();
  }
}
