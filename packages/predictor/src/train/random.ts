/**
 * The trainer's random numbers. Everything random is drawn from a generator of its own, named by (seed, purpose, …):
 * shuffling epoch 3 needs no memory of epoch 2, which is what makes a resumed training equal an uninterrupted one.
 */
import { Random } from "@flashwick/core";

/** What a generator is for; part of its name. */
export type RandomPurpose = "w1" | "w2" | "shuffle" | "split" | "subset";

const PURPOSE_CODES: Readonly<Record<RandomPurpose, number>> = { w1: 1, w2: 2, shuffle: 3, split: 4, subset: 5 };

/** The generator of one purpose; `more` tells its instances apart (layer, epoch). */
export function trainerRandom(purpose: RandomPurpose, seed: number, ...more: readonly number[]): Random {
  return new Random(seed, PURPOSE_CODES[purpose], ...more);
}

/** The integers 0 … count − 1 in random order (Fisher and Yates). */
export function shuffledIndices(count: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const other = order[j]!;
    order[j] = order[i]!;
    order[i] = other;
  }
  return order;
}
