/**
 * A binary heap of units that knows where each of them stands, so that any can be taken out: push and remove cost
 * O(log n), `first` nothing.
 */
const OUT = -1;

export class UnitHeap {
  readonly #firstUnit: number;
  readonly #units: Uint32Array;
  readonly #placeOf: Int32Array;
  readonly #isBefore: (a: number, b: number) => boolean;
  #size = 0;

  /**
   * Of units `firstUnit` … `firstUnit + nUnits − 1`.
   *
   * @param isBefore A strict order; it may change for members only if `reorder` follows.
   */
  constructor(firstUnit: number, nUnits: number, isBefore: (a: number, b: number) => boolean) {
    this.#firstUnit = firstUnit;
    this.#units = new Uint32Array(nUnits);
    this.#placeOf = new Int32Array(nUnits).fill(OUT);
    this.#isBefore = isBefore;
  }

  /** The first unit, or -1. */
  get first(): number {
    return this.#size === 0 ? -1 : this.#units[0]!;
  }

  has(unit: number): boolean {
    return this.#placeOf[unit - this.#firstUnit] !== OUT;
  }

  /** Only of a unit that is out. */
  push(unit: number): void {
    this.#put(unit, this.#size++);
    this.#rise(unit);
  }

  /** Only of a unit that is in. */
  remove(unit: number): void {
    const place = this.#placeOf[unit - this.#firstUnit]!;
    this.#placeOf[unit - this.#firstUnit] = OUT;
    const last = this.#units[--this.#size]!;
    if (last === unit) return;
    this.#put(last, place);
    this.#rise(last);
    this.#sink(last);
  }

  /** Restores the order after it has changed for many. Cost: O(n). */
  reorder(): void {
    for (let place = (this.#size >> 1) - 1; place >= 0; place--) this.#sink(this.#units[place]!);
  }

  #put(unit: number, place: number): void {
    this.#units[place] = unit;
    this.#placeOf[unit - this.#firstUnit] = place;
  }

  #rise(unit: number): void {
    let place = this.#placeOf[unit - this.#firstUnit]!;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const other = this.#units[parent]!;
      if (!this.#isBefore(unit, other)) break;
      this.#put(other, place);
      place = parent;
    }
    this.#put(unit, place);
  }

  #sink(unit: number): void {
    let place = this.#placeOf[unit - this.#firstUnit]!;
    for (let child = 2 * place + 1; child < this.#size; child = 2 * place + 1) {
      if (child + 1 < this.#size && this.#isBefore(this.#units[child + 1]!, this.#units[child]!)) child++;
      const other = this.#units[child]!;
      if (!this.#isBefore(other, unit)) break;
      this.#put(other, place);
      place = child;
    }
    this.#put(unit, place);
  }
}
