/** A memory of slots that holds neuron numbers instead of records: executes waves, and checks what a wave promises on the way. */
import { expect } from "vitest";
import type { CacheWave, NeuronCache } from "./plan.js";

export class SlotMemory {
  readonly #slots: Int32Array;

  constructor(slotCount: number) {
    this.#slots = new Int32Array(slotCount).fill(-1);
  }

  execute({ neurons, slots, hits, misses, moves }: CacheWave): void {
    const memory = this.#slots;
    for (let i = 0; i < moves.length; i += 2) memory[moves[i + 1]!] = memory[moves[i]!]!;
    for (const i of hits) expect(memory[slots[i]!]).toBe(neurons[i]);
    for (const i of misses) memory[slots[i]!] = neurons[i]!;
    expect(Array.from(slots, (slot) => memory[slot])).toEqual([...neurons]);
    expect(new Set(slots).size).toBe(neurons.length);
    expect([...hits, ...misses].sort((a, b) => a - b)).toEqual([...neurons.keys()]);
    for (const list of [hits, misses]) expect([...list]).toEqual([...list].sort((a, b) => a - b));
  }

  /** The slots in use are the first ones, they hold what `pointer` says, and `slotOf` is its inverse. */
  expectToHold(cache: NeuronCache, dFf: number): void {
    expect(cache.numUsed).toBeLessThanOrEqual(cache.slotCount);
    const pointer = cache.pointer.subarray(0, cache.numUsed);
    expect(this.#slots.subarray(0, cache.numUsed)).toEqual(Int32Array.from(pointer));
    const slotOf = new Array<number>(dFf).fill(-1);
    for (const [slot, neuron] of pointer.entries()) slotOf[neuron] = slot;
    expect(Array.from({ length: dFf }, (_, neuron) => cache.slotOf(neuron))).toEqual(slotOf);
  }
}
