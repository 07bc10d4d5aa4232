/**
 * How many slots each layer gets, given how many there are in all. Pure; every layer gets at least `minimum`, none more
 * than `dFf`, and the sum never exceeds `total`.
 */

/**
 * Slots by layer for sparse decoding: in proportion to what each layer's predictor names, since a layer whose set does
 * not fit streams in waves. What a full layer cannot use flows on to the others.
 *
 * @param demand  Expected neurons named per token, by layer.
 * @param total   At least `minimum * demand.length`.
 */
export function allocateByDemand(demand: readonly number[], dFf: number, total: number, minimum: number): number[] {
  const slots = demand.map(() => Math.min(minimum, dFf));
  let rest = total - slots.reduce((sum, n) => sum + n, 0);
  // Water-filling: each round shares the rest among the layers with room; at least one layer fills up or all is spent.
  for (;;) {
    const open = demand.map((_, l) => l).filter((l) => slots[l]! < dFf);
    const weight = open.reduce((sum, l) => sum + Math.max(demand[l]!, 1), 0);
    if (rest <= 0 || open.length === 0) return slots;
    let given = 0;
    for (const l of open) {
      const share = Math.floor((rest * Math.max(demand[l]!, 1)) / weight);
      const more = Math.min(share, dFf - slots[l]!);
      slots[l]! += more;
      given += more;
    }
    if (given === 0) {
      // Less than one slot each: hand out the last ones in layer order.
      for (const l of open) {
        if (rest === 0) break;
        slots[l]!++;
        rest--;
      }
      return slots;
    }
    rest -= given;
  }
}

/**
 * Slots by layer for dense decoding: whole layers first. Every neuron is used once a token, in a cycle, so a cache that
 * holds part of every layer would never hit (the LRU cliff); one that holds all of some layers always hits there.
 */
export function allocateWholeLayers(nLayers: number, dFf: number, total: number, minimum: number): number[] {
  const floor = Math.min(minimum, dFf);
  const slots = new Array<number>(nLayers).fill(floor);
  let rest = total - floor * nLayers;
  for (let l = 0; l < nLayers && rest > 0; l++) {
    if (rest >= dFf - floor) {
      slots[l] = dFf;
      rest -= dFf - floor;
    }
  }
  // What does not fill a layer widens the waves of the streamed ones: fewer and larger reads.
  for (let l = 0; l < nLayers && rest > 0; l++) {
    if (slots[l]! < dFf) {
      const share = Math.min(Math.ceil(rest / (nLayers - l)), dFf - slots[l]! - 1, rest);
      if (share > 0) {
        slots[l]! += share;
        rest -= share;
      }
    }
  }
  return slots;
}
