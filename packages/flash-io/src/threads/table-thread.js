// @ts-check
/**
 * A thread's side of the shared table (table-layout.ts has its layout and invariants): takes entries, completes them, sleeps
 * while there are none.
 *
 * Neutral: no Node, no browser. Whoever runs the loop leaves it when messages have been posted, since only the platform knows
 * how they are received: Node pulls them in place, a Web Worker returns to its event loop and enters the loop again afterwards.
 *
 * Plain JavaScript, because Node runs this very file beside the sources.
 */

/** Looks at the doorbell before going to sleep, about 1 us: the cores belong to computing. */
const SPINS = 32;

/** Thrown by a read that meets the end of the file. */
export class Truncated extends Error {
  /** @param {number} endsAt Where the file was found to end. */
  constructor(endsAt) {
    super(`the file ends at ${endsAt}`);
    this.endsAt = endsAt;
  }
}

export class TableThread {
  /** An entry that was taken and not read, because a message comes first; -1: none. */
  #postponed = -1;

  /**
   * @param {import("./table-layout.js").TableLayout} layout
   * @param {number} thread Its number, from 0.
   * @param {number} received How many messages it has received: those announced before it was made do not come to it.
   */
  constructor(layout, thread, received) {
    const { buffer, columns, runCapacity, pieceCapacity } = layout;
    this.layout = layout;
    this.thread = thread;
    this.received = received;
    /** Arenas by index; null once released. @type {(Uint8Array | null)[]} */
    this.memories = [];
    this.words = new Int32Array(buffer);
    this.offset = new Float64Array(buffer, columns.offset, runCapacity);
    this.sizeBytes = new Float64Array(buffer, columns.sizeBytes, runCapacity);
    this.piecePtr = new Float64Array(buffer, columns.piecePtr, pieceCapacity);
    this.pieceBytes = new Float64Array(buffer, columns.pieceBytes, pieceCapacity);
    this.memory = new Int32Array(buffer, columns.memory, runCapacity);
    this.firstPiece = new Int32Array(buffer, columns.firstPiece, runCapacity);
    this.pieceCount = new Int32Array(buffer, columns.pieceCount, runCapacity);
    this.completed = new Int32Array(buffer, columns.completed, runCapacity);
    this.pieceMask = pieceCapacity - 1;
  }

  /**
   * Waits until this thread may read: "read". "message": one has been posted, to be received first. "stop": the thread shall end.
   * The doorbell is as it was before, for {@link sleep}.
   *
   * @returns {{ what: "read" | "message" | "stop", bell: number }}
   */
  awaitWork() {
    const { words: w } = this;
    const W = this.layout.words;
    for (;;) {
      const bell = Atomics.load(w, W.doorbell);
      // In this order: whatever stops, or brings a message, changes `active` afterwards, so that no thread sleeps through it.
      const active = Atomics.load(w, W.active);
      if (Atomics.load(w, W.stopping) !== 0) return { what: "stop", bell };
      if (this.hasMessage()) return { what: "message", bell };
      if (this.#mayRead(active)) return { what: "read", bell };
      Atomics.wait(w, W.active, active);
    }
  }

  /**
   * Reads entries with `read`, and sleeps while there are none, until a message has been posted ("message") or the thread shall end
   * ("stop").
   *
   * @param {(place: number) => void} read Reads the entry at a place of the ring; throws if it fails.
   * @returns {"message" | "stop"}
   */
  serve(read) {
    for (;;) {
      const { what, bell } = this.awaitWork();
      if (what !== "read") return what;
      this.setBusy(true);
      // Still busy then: an entry is taken, and waits for a message that is on its way.
      if (!this.readAll(read)) return "message";
      this.setBusy(false);
      this.sleep(bell);
    }
  }

  /**
   * Reads entries until there are none, or one fails; false if an entry must wait for a message.
   *
   * @param {(place: number) => void} read
   */
  readAll(read) {
    for (let place = this.takeEntry(); place >= 0; place = this.takeEntry()) {
      // It may be of a memory that this thread has not heard of: what tells of it was announced before the entry was published.
      if (this.hasMessage()) {
        this.#postponed = place;
        return false;
      }
      try {
        read(place);
      } catch (error) {
        this.fail(place, error);
        return true;
      }
      this.complete(place);
    }
    return true;
  }

  /** @param {number} active The word `active`. */
  #mayRead(active) {
    return this.thread < (active & this.layout.activeMask);
  }

  hasMessage() {
    return Atomics.load(this.words, this.layout.words.messages) !== this.received;
  }

  /**
   * Learns of a memory, or lets go of one. True if it was let go of.
   *
   * @param {import("./reader-threads.js").MemoryMessage} message
   */
  receive({ index, buffer }) {
    this.received++;
    this.memories[index] = buffer === null ? null : new Uint8Array(buffer);
    return buffer === null;
  }

  /**
   * The arena that an entry is of.
   *
   * @param {number} place
   */
  memoryOf(place) {
    const memory = this.memories[this.memory[place]];
    if (!memory) throw new Error("the memory is not known to this thread");
    return memory;
  }

  /** The place of the next entry, which is this thread's now; -1 if there is none. Wakes another thread if there are more. */
  takeEntry() {
    const { words: w } = this;
    const W = this.layout.words;
    if (this.#postponed >= 0) {
      const place = this.#postponed;
      this.#postponed = -1;
      return place;
    }
    for (;;) {
      const ticket = Atomics.load(w, W.ticket);
      const left = (Atomics.load(w, W.published) - ticket) | 0;
      if (left <= 0) return -1;
      // After `published`: an entry is never taken by a thread that was told to pause before the entry was published.
      if (!this.#mayRead(Atomics.load(w, W.active))) return -1;
      if (Atomics.compareExchange(w, W.ticket, ticket, (ticket + 1) | 0) !== ticket) continue;
      if (left > 1 && Atomics.load(w, W.sleepers) > 0) {
        Atomics.sub(w, W.sleepers, Atomics.notify(w, W.doorbell, 1));
      }
      return ticket & (this.layout.runCapacity - 1);
    }
  }

  /**
   * Marks an entry as landed, and wakes the owner if that is what it sleeps for.
   *
   * @param {number} place
   */
  complete(place) {
    const { words: w } = this;
    const W = this.layout.words;
    Atomics.store(this.completed, place, 1);
    const completions = Atomics.add(w, W.completions, 1) + 1;
    if (Atomics.load(w, W.waiting) !== 0 && ((completions - Atomics.load(w, W.wakeAt)) | 0) >= 0) {
      Atomics.notify(w, W.completions);
    }
  }

  /**
   * Ends the batch: leaves a record of its first error, and takes back what no thread has taken.
   *
   * @param {number} place
   * @param {unknown} error
   */
  fail(place, error) {
    const { words: w } = this;
    const W = this.layout.words;
    if (Atomics.compareExchange(w, W.error, 0, 1) === 0) this.#recordError(place, error);
    this.#cancel();
    Atomics.add(w, W.completions, 1);
    Atomics.notify(w, W.completions);
  }

  /** @param {boolean} busy Whether a read of this thread's is in flight, or may be soon. */
  setBusy(busy) {
    Atomics.store(this.words, this.layout.words.busy + this.thread, busy ? 1 : 0);
  }

  /** Sleeps until the doorbell is no longer `bell`. @param {number} bell */
  sleep(bell) {
    const { words: w } = this;
    const W = this.layout.words;
    for (let i = 0; i < SPINS; i++) if (Atomics.load(w, W.doorbell) !== bell) return;
    Atomics.add(w, W.sleepers, 1);
    // Whoever wakes a sleeper has counted it off already.
    if (Atomics.wait(w, W.doorbell, bell) !== "ok") Atomics.sub(w, W.sleepers, 1);
  }

  /**
   * @param {number} place
   * @param {unknown} error
   */
  #recordError(place, error) {
    const { words: w } = this;
    const { buffer, columns, errorTextBytes, errorKind, words: W } = this.layout;
    const numbers = new Float64Array(buffer, columns.errorNumbers, 3);
    numbers[0] = this.offset[place];
    numbers[1] = this.sizeBytes[place];
    numbers[2] = error instanceof Truncated ? error.endsAt : 0;
    const text = new TextEncoder().encode(error instanceof Error ? error.message : String(error));
    const kept = text.subarray(0, errorTextBytes);
    new Uint8Array(buffer, columns.errorText, errorTextBytes).set(kept);
    w[W.errorTextBytes] = kept.byteLength;
    w[W.errorKind] = error instanceof Truncated ? errorKind.truncated : errorKind.device;
    Atomics.store(w, W.error, 2);
  }

  /** Takes back what no thread has taken; never moves the ticket backwards. */
  #cancel() {
    const { words: w } = this;
    const W = this.layout.words;
    for (;;) {
      const ticket = Atomics.load(w, W.ticket);
      const published = Atomics.load(w, W.published);
      if (((published - ticket) | 0) <= 0) return;
      if (Atomics.compareExchange(w, W.ticket, ticket, published) === ticket) return;
    }
  }
}
