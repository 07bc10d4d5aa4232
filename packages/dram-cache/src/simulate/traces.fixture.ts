import fc from "fast-check";
import type { NeuronTrace } from "./neuron-trace.js";

export const FIXTURE_D_FF = 300;

/** Random traces of one to three layers. */
export function randomTraces(maxSet: number): fc.Arbitrary<NeuronTrace> {
  const set = fc
    .uniqueArray(fc.nat(FIXTURE_D_FF - 1), { maxLength: maxSet })
    .map((neurons) => Uint32Array.from(neurons).sort());
  return fc.integer({ min: 1, max: 3 }).chain((nLayers) => {
    const tokens = fc.array(fc.array(set, { minLength: nLayers, maxLength: nLayers }), { maxLength: 25 });
    return tokens.map((tokens): NeuronTrace => ({ nLayers, dFf: FIXTURE_D_FF, tokens }));
  });
}

/** A trace of one layer. */
export function oneLayer(dFf: number, ...tokens: readonly (readonly number[])[]): NeuronTrace {
  return { nLayers: 1, dFf, tokens: tokens.map((set) => [Uint32Array.from(set)]) };
}
