/** What the tokens of a step use of a layer's units, one by one and together. */

/** What one token uses. */
export interface ChosenUnits {
  /** Ascending; null: all of them. */
  readonly units: Uint32Array | null;
  /** By which they were chosen, f32, one for every unit. Where slots are few, missing units of larger scores are kept. */
  readonly scores: Float32Array;
}

/** What the tokens of a step use together. */
export interface UnitUnion {
  /** A set for each token, ascending. */
  readonly sets: readonly Uint32Array[];
  /** Ascending. */
  readonly units: Uint32Array;
  /** Of every unit, the largest over the tokens. */
  readonly scores: Float32Array;
}

/** @param all 0, 1, …: every unit. */
export function unionOfUnits(chosen: readonly ChosenUnits[], all: Uint32Array): UnitUnion {
  const sets = chosen.map(({ units }) => units ?? all);
  if (chosen.length === 1) return { sets, units: sets[0]!, scores: chosen[0]!.scores };
  const isUsed = new Uint8Array(all.length);
  for (const set of sets) for (const unit of set) isUsed[unit] = 1;
  const scores = new Float32Array(all.length);
  for (const token of chosen)
    for (let i = 0; i < scores.length; i++) scores[i] = Math.max(scores[i]!, token.scores[i]!);
  return { sets, units: all.filter((unit) => isUsed[unit] === 1), scores };
}
