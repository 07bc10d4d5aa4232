/**
 * The slots in use, least recently used first, a list for each layer: doubly linked lists that live in two preallocated
 * arrays, so that a token costs what it names and evicts, not what the cache holds.
 *
 * A slot is in one list, once, or in none. Every operation is O(1); nothing is checked.
 */

/** No slot: the end of the list. */
export const NO_SLOT = -1;

export class RecencyList {
  /** The ends of list i are kept at `end + i`, past the slots: `#next` there is its first slot, `#previous` its last. */
  readonly #end: number;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;

  constructor(slotCount: number, lists = 1) {
    this.#end = slotCount;
    this.#next = new Int32Array(slotCount + lists);
    this.#previous = new Int32Array(slotCount + lists);
    this.clear();
  }

  clear(): void {
    for (let end = this.#end; end < this.#next.length; end++) this.#next[end] = this.#previous[end] = end;
  }

  /** The least recently used slot of a list, or `NO_SLOT`. */
  first(list = 0): number {
    return this.#slotOrNone(this.#next[this.#end + list]!);
  }

  /** The most recently used slot of a list, or `NO_SLOT`. */
  last(list = 0): number {
    return this.#slotOrNone(this.#previous[this.#end + list]!);
  }

  /** The slot after `slot`, or `NO_SLOT`. */
  after(slot: number): number {
    return this.#slotOrNone(this.#next[slot]!);
  }

  /** The slot before `slot`, or `NO_SLOT`. */
  before(slot: number): number {
    return this.#slotOrNone(this.#previous[slot]!);
  }

  /** Puts a slot that is in no list behind all others: the most recently used. */
  append(slot: number, list = 0): void {
    const end = this.#end + list;
    const last = this.#previous[end]!;
    this.#next[last] = slot;
    this.#previous[slot] = last;
    this.#next[slot] = end;
    this.#previous[end] = slot;
  }

  /** Appends slots that are in no list, one after the other. */
  appendAll(slots: Uint32Array, list = 0): void {
    if (slots.length === 0) return;
    const [next, previous, end] = [this.#next, this.#previous, this.#end + list];
    let last = previous[end]!;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      next[last] = slot;
      previous[slot] = last;
      last = slot;
    }
    next[last] = end;
    previous[end] = last;
  }

  /** Puts a slot that is in no list before all others: the least recently used. */
  prepend(slot: number, list = 0): void {
    this.insertAfter(NO_SLOT, slot, list);
  }

  /** Puts a slot that is in no list behind `place`, which is in `list`, or before all others if that is `NO_SLOT`. */
  insertAfter(place: number, slot: number, list = 0): void {
    const before = place === NO_SLOT ? this.#end + list : place;
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

  /** Gives the place of slot `from` to slot `to`, which is in none. */
  replace(from: number, to: number): void {
    const before = this.#previous[from]!;
    const after = this.#next[from]!;
    this.#next[before] = this.#previous[after] = to;
    this.#previous[to] = before;
    this.#next[to] = after;
  }

  #slotOrNone(link: number): number {
    return link >= this.#end ? NO_SLOT : link;
  }
}
