// @ts-check
/** Reads of several threads, counted together, one of which goes wrong: what the threads of Node and of a page have in common. */

/** Longest wait for another read, milliseconds. */
export const REORDER_MS = 20;

/** Words of the memory that the threads share: operations, completed ones, the number of the kind or -1, the operation that it strikes, the seed. */
export const FAULT_WORDS = { operations: 0, completed: 1, kind: 2, at: 3, seed: 4 };
const W = FAULT_WORDS;

export class SharedFaults {
  /**
   * @param {Int32Array} words
   * @param {readonly string[]} kinds
   */
  constructor(words, kinds) {
    this.words = words;
    this.kinds = kinds;
  }

  get seed() {
    return Atomics.load(this.words, W.seed);
  }

  /** A read begins. The kind of fault that strikes it; "" if none does. */
  strike() {
    const { words } = this;
    const operation = Atomics.add(words, W.operations, 1) + 1;
    const kind = Atomics.load(words, W.kind);
    if (kind < 0 || Atomics.load(words, W.at) !== operation) return "";
    const name = this.kinds[kind];
    if (name === "delay") Atomics.wait(words, W.kind, kind, 1 + (this.seed % 5));
    if (name === "reorder") Atomics.wait(words, W.completed, Atomics.load(words, W.completed), REORDER_MS);
    return name;
  }

  /**
   * A read has ended. What came of it, after the fault.
   *
   * @param {string} kind
   * @param {readonly Uint8Array[]} views What was read into.
   * @param {number} got
   */
  spoil(kind, views, got) {
    const { words, seed } = this;
    Atomics.add(words, W.completed, 1);
    Atomics.notify(words, W.completed);
    if (kind === "wrong-bit" && got > 0) {
      const first = views[0].subarray(0, Math.min(got, views[0].length));
      first[seed % first.length] ^= 1 << (seed % 8);
    }
    if (kind !== "short" || got < 2) return got;
    // What a short read has not brought is whatever lies there.
    let at = 0;
    for (const view of views) {
      const [begin, end] = [(got >> 1) - at, got - at].map((n) => Math.min(view.length, Math.max(0, n)));
      view.fill(0xaa, begin, end);
      at += view.length;
    }
    return got >> 1;
  }
}
