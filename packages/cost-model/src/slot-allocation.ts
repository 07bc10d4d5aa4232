/**
 * How many slots each layer gets, given how many there are in all. Pure; every layer gets at least `minimum`, none more
 * than it has neurons, and the sum never exceeds `total`.
 */

/**
 * Slots by layer for sparse decoding: in proportion to what each layer's predictor names, since a layer whose set does
 * not fit streams in waves. What a full layer cannot use flows on to the others.
 *
 * Each slot goes where slots per demand are fewest so far (D'Hondt's method of apportionment), so that more slots in all never mean
 * fewer for a layer. Where slots cost more in some layers than in others, the first that is too dear ends it: one that a later, cheaper slot took the
 * place of would be lost to a layer as soon as there is a little more.
 *
 * @param demand  Expected neurons named per token, by layer.
 * @param dFf     Neurons, by layer.
 * @param total   At least `minimum * demand.length`; where slots have costs, at least what these cost.
 * @param costs   Of a slot, by layer, in what `total` is of. Default: 1.
 * Cost: O(layers · log total).
 */
export function allocateByDemand(
  demand: readonly number[],
  dFf: readonly number[],
  total: number,
  minimum: number,
  costs: readonly number[] = dFf.map(() => 1),
): number[] {
  const weights = demand.map((neurons) => Math.max(neurons, 1));
  const at = (level: number) =>
    weights.map((weight, l) => Math.min(dFf[l]!, Math.max(Math.min(minimum, dFf[l]!), Math.floor(level * weight))));
  const sum = (slots: readonly number[]) => slots.reduce((all, n, layer) => all + n * costs[layer]!, 0);
  // The highest level, in slots per demand, that all layers can be given.
  let [low, high] = [0, Math.max(...weights.map((weight, l) => (dFf[l]! + 1) / weight))];
  for (let step = 0; step < BISECTIONS; step++) {
    const middle = (low + high) / 2;
    if (sum(at(middle)) <= total) low = middle;
    else high = middle;
  }
  const slots = at(low);
  // The layers that would be next stand at one level: what is left is less than one slot for each of them.
  let rest = total - sum(slots);
  const next = slots.map((n, layer) => ({
    layer,
    level: n < dFf[layer]! ? (n + 1) / weights[layer]! : Number.POSITIVE_INFINITY,
  }));
  next.sort((a, b) => a.level - b.level || a.layer - b.layer);
  for (const { layer, level } of next) {
    if (rest < costs[layer]! || level === Number.POSITIVE_INFINITY) break;
    slots[layer]!++;
    rest -= costs[layer]!;
  }
  return slots;
}

/** To the last bit of a number between 0 and some thousand. */
const BISECTIONS = 80;

/**
 * Slots by layer for dense decoding: whole layers first, which are read in place and never again. What does not fill a layer holds a part of the others,
 * which stays: a dense pass evicts nothing (an LRU cache would never hit, since every neuron is used once a token, in a cycle).
 *
 * @param dFf Neurons, by layer.
 */
export function allocateWholeLayers(dFf: readonly number[], total: number, minimum: number): number[] {
  const nLayers = dFf.length;
  const slots = dFf.map((neurons) => Math.min(minimum, neurons));
  let rest = total - slots.reduce((sum, n) => sum + n, 0);
  for (let l = 0; l < nLayers && rest > 0; l++) {
    const more = dFf[l]! - slots[l]!;
    if (rest < more) continue;
    slots[l] = dFf[l]!;
    rest -= more;
  }
  for (let l = 0; l < nLayers && rest > 0; l++) {
    if (slots[l]! < dFf[l]!) {
      const share = Math.min(Math.ceil(rest / (nLayers - l)), dFf[l]! - slots[l]! - 1, rest);
      if (share > 0) {
        slots[l]! += share;
        rest -= share;
      }
    }
  }
  return slots;
}
