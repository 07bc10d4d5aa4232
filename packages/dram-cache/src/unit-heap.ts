/**
 * A binary heap of units by key, the lower unit among equals, that knows where each of them stands, so that any can be
 * taken out: push and remove cost O(log n), `first` nothing.
 */
const OUT = -1;

export class UnitHeap {
  readonly #firstUnit: number;
  readonly #units: Uint32Array;
  readonly #placeOf: Int32Array;
  readonly #keys: Float64Array;
  #size = 0;

  /** Of units `firstUnit` … `firstUnit + nUnits − 1`. */
  constructor(firstUnit: number, nUnits: number) {
    this.#firstUnit = firstUnit;
    this.#units = new Uint32Array(nUnits);
    this.#placeOf = new Int32Array(nUnits).fill(OUT);
    this.#keys = new Float64Array(nUnits);
  }

  /** The unit of the least key, or -1. */
  get first(): number {
    return this.#size === 0 ? -1 : this.#units[0]! + this.#firstUnit;
  }

  has(unit: number): boolean {
    return this.#placeOf[unit - this.#firstUnit] !== OUT;
  }

  /** Only of a unit that is out. */
  push(unit: number, key: number): void {
    const own = unit - this.#firstUnit;
    this.#keys[own] = key;
    this.#rise(own, this.#size++);
  }

  /** Only of a unit that is in. */
  remove(unit: number): void {
    const own = unit - this.#firstUnit;
    const place = this.#placeOf[own]!;
    this.#placeOf[own] = OUT;
    const last = this.#units[--this.#size]!;
    if (last === own) return;
    if (this.#isBefore(last, own)) this.#rise(last, place);
    else this.#sink(last, place);
  }

  /** Gives every member another key. Cost: O(n). */
  rekey(keyOf: (unit: number) => number): void {
    for (let place = 0; place < this.#size; place++) {
      const own = this.#units[place]!;
      this.#keys[own] = keyOf(own + this.#firstUnit);
    }
    for (let place = (this.#size >> 1) - 1; place >= 0; place--) this.#sink(this.#units[place]!, place);
  }

  #isBefore(a: number, b: number): boolean {
    const [keyA, keyB] = [this.#keys[a]!, this.#keys[b]!];
    return keyA < keyB || (keyA === keyB && a < b);
  }

  #put(own: number, place: number): void {
    this.#units[place] = own;
    this.#placeOf[own] = place;
  }

  /** Puts a unit at a place, or nearer to the first where it belongs. */
  #rise(own: number, from: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const other = this.#units[parent]!;
      if (!this.#isBefore(own, other)) break;
      this.#put(other, place);
      place = parent;
    }
    this.#put(own, place);
  }

  /** Puts a unit at a place, or farther from the first where it belongs. */
  #sink(own: number, from: number): void {
    let place = from;
    for (let child = 2 * place + 1; child < this.#size; child = 2 * place + 1) {
      if (child + 1 < this.#size && this.#isBefore(this.#units[child + 1]!, this.#units[child]!)) child++;
      const other = this.#units[child]!;
      if (!this.#isBefore(other, own)) break;
      this.#put(other, place);
      place = child;
    }
    this.#put(own, place);
  }
}
