/**
 * Which neuron is in which slot, and where the neurons of a wave go. Knows nothing of tokens, policies or order.
 *
 * Every neuron of the layer is either absent or in exactly one slot. Between waves slots 0 … numUsed − 1 are in use,
 * the others are free, and `pointer` (slot -> neuron) and `slotOf` (neuron -> slot) are inverse to each other. During a
 * wave some of the slots in use are holes: vacated, and not yet given away.
 */
import { assert } from "@flashwick/core";
import { planLanding } from "./landing-plan.js";

/** In place of a slot: the neuron is absent. */
export const ABSENT = -1;

/** Slot numbers below this fit an Int16Array. */
const SMALL = 32768;

/** Bytes of a slot number in `SlotTable.slotOf`. */
export function slotNumberBytes(dFf: number): number {
  return dFf < SMALL ? 2 : 4;
}

export class SlotTable {
  /** slot -> neuron; entries at or beyond `numUsed` mean nothing. */
  readonly pointer: Uint32Array;
  /** neuron -> slot, or a negative number. */
  readonly slotOf: Int16Array | Int32Array;
  /** The slot of each neuron of the wave that was found or settled last. */
  readonly slots: Uint32Array;
  /** Indices into that wave of resident neurons. */
  readonly hits: Uint32Array;
  /** Copies from slot to slot, in pairs. */
  readonly moves: Uint32Array;
  readonly #misses: Uint32Array;
  /** Slots vacated since `beginWave`: the first `#holeCount`. */
  readonly #holes: Uint32Array;
  #holeCount = 0;
  #numUsed = 0;

  constructor(dFf: number, slotCount: number) {
    this.pointer = new Uint32Array(slotCount);
    this.slotOf = (slotNumberBytes(dFf) === 2 ? new Int16Array(dFf) : new Int32Array(dFf)).fill(ABSENT);
    this.slots = new Uint32Array(slotCount);
    this.hits = new Uint32Array(slotCount);
    this.moves = new Uint32Array(2 * slotCount);
    this.#misses = new Uint32Array(slotCount);
    this.#holes = new Uint32Array(slotCount);
  }

  /** Slots in use. During a wave, holes are among them. */
  get numUsed(): number {
    return this.#numUsed;
  }

  /** Slots not in use. */
  get free(): number {
    return this.pointer.length - this.#numUsed;
  }

  /** Slots vacated since `beginWave`. */
  get holeCount(): number {
    return this.#holeCount;
  }

  clear(): void {
    for (let slot = 0; slot < this.#numUsed; slot++) this.slotOf[this.pointer[slot]!] = ABSENT;
    this.#numUsed = 0;
  }

  beginWave(): void {
    this.#holeCount = 0;
  }

  /** Makes a slot in use a hole. */
  vacate(slot: number): void {
    this.slotOf[this.pointer[slot]!] = ABSENT;
    this.#holes[this.#holeCount++] = slot;
  }

  /** Sorts a wave into hits, whose slots are looked up, and misses, which are returned: indices into `neurons`. */
  find(neurons: Uint32Array): Uint32Array {
    const [slotOf, slots, hits, misses] = [this.slotOf, this.slots, this.hits, this.#misses];
    let count = 0;
    for (let i = 0; i < neurons.length; i++) {
      const slot = slotOf[neurons[i]!]!;
      if (slot < 0) misses[count++] = i;
      else {
        slots[i] = slot;
        hits[i - count] = i;
      }
    }
    return misses.subarray(0, count);
  }

  /**
   * Gives the misses of the wave that was found last their slots, and fills from the tail what holes are left. `slots`
   * has the slots before the moves: see `lookUp`.
   *
   * @returns The moves, a view of `moves`.
   */
  settle(neurons: Uint32Array, misses: Uint32Array): Uint32Array {
    const vacant = this.#vacantSlots(misses.length);
    const usedAfter = this.#numUsed - vacant.length + misses.length;
    // Nothing lands behind the last slot that will be in use: a hole there closes by itself.
    let below = vacant.length;
    while (below > 0 && vacant[below - 1]! >= usedAfter) below--;
    planLanding(neurons, misses, vacant.subarray(0, below), this.slots);
    this.#land(neurons, misses);
    return this.moves.subarray(0, 2 * this.#closeHoles(vacant, below, usedAfter));
  }

  /** Sets `slots` for a wave that is resident. */
  lookUp(neurons: Uint32Array): void {
    for (let i = 0; i < neurons.length; i++) this.slots[i] = this.slotOf[neurons[i]!]!;
  }

  /** The holes, and as many free slots as `misses` need beyond them, ascending. */
  #vacantSlots(misses: number): Uint32Array {
    this.#holes.subarray(0, this.#holeCount).sort();
    let count = this.#holeCount;
    while (count < misses) this.#holes[count++] = this.#numUsed++;
    assert(this.#numUsed <= this.pointer.length, "room was made for every miss");
    return this.#holes.subarray(0, count);
  }

  #land(neurons: Uint32Array, misses: Uint32Array): void {
    for (let m = 0; m < misses.length; m++) {
      const neuron = neurons[misses[m]!]!;
      const slot = this.slots[misses[m]!]!;
      this.pointer[slot] = neuron;
      this.slotOf[neuron] = slot;
    }
  }

  /**
   * Moves what is in use at or behind `usedAfter` into the holes that are left, the first of `vacant`.
   *
   * @param below Vacant slots from this index on are not below `usedAfter`.
   * @returns The number of moves.
   */
  #closeHoles(vacant: Uint32Array, below: number, usedAfter: number): number {
    let moves = 0;
    let behind = vacant.length - 1;
    for (let slot = this.#numUsed - 1; slot >= usedAfter; slot--) {
      if (behind >= below && vacant[behind] === slot) {
        behind--;
        continue;
      }
      const to = vacant[moves]!;
      const neuron = this.pointer[slot]!;
      this.pointer[to] = neuron;
      this.slotOf[neuron] = to;
      this.moves[2 * moves] = slot;
      this.moves[2 * moves + 1] = to;
      moves++;
    }
    this.#numUsed = usedAfter;
    return moves;
  }
}
