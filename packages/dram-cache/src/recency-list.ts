/**
 * The slots in use, least recently used first: a doubly linked list that lives in two preallocated arrays, so that a
 * token costs what it names and evicts, not what the cache holds.
 *
 * A slot is in the list once or not at all. Every operation is O(1); nothing is checked.
 */

/** No slot: the end of the list. */
export const NO_SLOT = -1;

export class RecencyList {
  /** The two ends are kept one past the slots: `#next[end]` is the first slot, `#previous[end]` the last. */
  readonly #end: number;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;

  constructor(slotCount: number) {
    this.#end = slotCount;
    this.#next = new Int32Array(slotCount + 1);
    this.#previous = new Int32Array(slotCount + 1);
    this.clear();
  }

  clear(): void {
    this.#next[this.#end] = this.#previous[this.#end] = this.#end;
  }

  /** The least recently used slot, or `NO_SLOT`. */
  get first(): number {
    return this.#slotOrNone(this.#next[this.#end]!);
  }

  /** The most recently used slot, or `NO_SLOT`. */
  get last(): number {
    return this.#slotOrNone(this.#previous[this.#end]!);
  }

  /** The slot after `slot`, or `NO_SLOT`. */
  after(slot: number): number {
    return this.#slotOrNone(this.#next[slot]!);
  }

  /** The slot before `slot`, or `NO_SLOT`. */
  before(slot: number): number {
    return this.#slotOrNone(this.#previous[slot]!);
  }

  /** Puts a slot that is not in the list behind all others: the most recently used. */
  append(slot: number): void {
    const last = this.#previous[this.#end]!;
    this.#next[last] = slot;
    this.#previous[slot] = last;
    this.#next[slot] = this.#end;
    this.#previous[this.#end] = slot;
  }

  /** Appends slots that are not in the list, one after the other. */
  appendAll(slots: Uint32Array): void {
    if (slots.length === 0) return;
    const [next, previous] = [this.#next, this.#previous];
    let last = previous[this.#end]!;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      next[last] = slot;
      previous[slot] = last;
      last = slot;
    }
    next[last] = this.#end;
    previous[this.#end] = last;
  }

  /** Puts a slot that is not in the list before all others: the least recently used. */
  prepend(slot: number): void {
    this.insertAfter(NO_SLOT, slot);
  }

  /** Puts a slot that is not in the list behind `place`, or before all others if that is `NO_SLOT`. */
  insertAfter(place: number, slot: number): void {
    const before = place === NO_SLOT ? this.#end : place;
    const after = this.#next[before]!;
    this.#previous[after] = slot;
    this.#next[slot] = after;
    this.#previous[slot] = before;
    this.#next[before] = slot;
  }

  remove(slot: number): void {
    const before = this.#previous[slot]!;
    const after = this.#next[slot]!;
    this.#next[before] = after;
    this.#previous[after] = before;
  }

  /** Removes `slots[i]` for each i in `indices`. */
  removeAll(slots: Uint32Array, indices: Uint32Array): void {
    const [next, previous] = [this.#next, this.#previous];
    for (let i = 0; i < indices.length; i++) {
      const slot = slots[indices[i]!]!;
      const before = previous[slot]!;
      const after = next[slot]!;
      next[before] = after;
      previous[after] = before;
    }
  }

  /** Gives the place of slot `from` to slot `to`, which is not in the list. */
  replace(from: number, to: number): void {
    const before = this.#previous[from]!;
    const after = this.#next[from]!;
    this.#next[before] = this.#previous[after] = to;
    this.#previous[to] = before;
    this.#next[to] = after;
  }

  #slotOrNone(link: number): number {
    return link === this.#end ? NO_SLOT : link;
  }
}
