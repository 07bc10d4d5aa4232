/** Units that must not leave a cache before the next step: a set that is emptied at the cost of its members. */
export class KeptUnits {
  readonly #isKept: Uint8Array;
  readonly #firstUnit: number;
  #members: number[] = [];

  /** Of units `firstUnit` … `firstUnit + nUnits − 1`. */
  constructor(nUnits: number, firstUnit = 0) {
    this.#isKept = new Uint8Array(nUnits);
    this.#firstUnit = firstUnit;
  }

  has(unit: number): boolean {
    return this.#isKept[unit - this.#firstUnit] === 1;
  }

  /** False if the unit was a member before. */
  add(unit: number): boolean {
    if (this.#isKept[unit - this.#firstUnit] === 1) return false;
    this.#isKept[unit - this.#firstUnit] = 1;
    this.#members.push(unit);
    return true;
  }

  /** Empties the set, and returns what was in it. */
  take(): readonly number[] {
    const members = this.#members;
    for (const unit of members) this.#isKept[unit - this.#firstUnit] = 0;
    this.#members = [];
    return members;
  }
}
