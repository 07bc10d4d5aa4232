// @ts-check
/**
 * Reads through the kernel's submission ring, which libuv offers where the process was started with UV_USE_IO_URING=1: one thread
 * keeps `depth` reads in flight and is needed for none of them, so that the cores are left to computing.
 *
 * It sleeps only while nothing is in flight; otherwise it returns to the event loop, and goes on when a read completes.
 */
import { read, readv } from "node:fs";
import { MAX_READ_BYTES } from "./direct-reads.js";

export class RingReads {
  /** Reads that the ring has and that have not completed. */
  #inFlight = 0;

  /**
   * @param {import("../threads/table-thread.js").TableThread} table
   * @param {import("./direct-reads.js").DirectReads} reads For what does not suit the ring.
   * @param {() => void} receiveMessages
   * @param {(() => void) | null} pause For tests: before each read.
   */
  constructor(table, reads, receiveMessages, pause) {
    this.table = table;
    this.reads = reads;
    this.receiveMessages = receiveMessages;
    this.pause = pause;
  }

  /** Returns when reads are in flight, to be called again when there are none; or when the thread shall end. */
  serve() {
    const { table } = this;
    for (;;) {
      const { what, bell } = table.awaitWork();
      if (what === "stop") return;
      if (what === "message") {
        this.receiveMessages();
        continue;
      }
      table.setBusy(true);
      this.#fill();
      if (this.#inFlight > 0) return;
      table.setBusy(false);
      table.sleep(bell);
    }
  }

  #fill() {
    const { table } = this;
    const { depth } = table.layout.words;
    while (this.#inFlight < Atomics.load(table.words, depth)) {
      const place = table.takeEntry();
      if (place < 0) return;
      this.pause?.();
      while (table.hasMessage()) this.receiveMessages();
      if (!this.#submit(place)) this.#finish(place);
    }
  }

  /**
   * Hands an entry to the ring; false if it is one for the bounce buffer, which is not worth it.
   *
   * @param {number} place
   */
  #submit(place) {
    const { table, reads } = this;
    const count = table.pieceCount[place];
    const first = table.firstPiece[place];
    const { fd, begin } = reads.fileAt(table.offset[place]);
    const offset = table.offset[place] - begin;
    if (!reads.isAligned(offset) || table.sizeBytes[place] > MAX_READ_BYTES) return false;
    if (!reads.arePiecesAligned(first, count)) return false;
    const memory = table.memoryOf(place);
    /** @type {(error: Error | null, got: number) => void} */
    const onEnd = (error, got) => this.#onCompletion(place, error, got);
    this.#inFlight++;
    if (count === 1) read(fd, memory, table.piecePtr[first], table.pieceBytes[first], offset, onEnd);
    else readv(fd, reads.viewsOf(memory, first, count), offset, onEnd);
    return true;
  }

  /**
   * @param {number} place
   * @param {Error | null} error
   * @param {number} got
   */
  #onCompletion(place, error, got) {
    this.#inFlight--;
    if (error !== null) this.table.fail(place, error);
    else if (got === this.table.sizeBytes[place]) this.table.complete(place);
    else this.#finish(place);
    this.#fill();
    // Not from here: what is on the stack would keep a released memory alive while this thread sleeps.
    if (this.#inFlight === 0) setImmediate(() => this.serve());
  }

  /**
   * Reads an entry here and now: one for the bounce buffer, or the rest of a short read.
   *
   * @param {number} place
   */
  #finish(place) {
    try {
      this.reads.readEntry(place);
      this.table.complete(place);
    } catch (error) {
      this.table.fail(place, error);
    }
  }
}
