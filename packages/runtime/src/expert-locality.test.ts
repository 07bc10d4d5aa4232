/** The curves that the cost model makes of a trace, against the engine's own cache. */
import { localityOfTrace } from "@flashwick/cost-model";
import { lruPolicy, windowPolicy } from "@flashwick/dram-cache";
import { decodeTrace, encodeTrace, type NeuronTrace, replayTrace } from "@flashwick/dram-cache/simulate";
import fc from "fast-check";
import { expect, it } from "vitest";

const COUNT = 12;

const traces = fc
  .array(fc.array(fc.uniqueArray(fc.nat(COUNT - 1), { minLength: 3, maxLength: 3 }), { minLength: 2, maxLength: 2 }), {
    minLength: 2,
    maxLength: 80,
  })
  .map((tokens): NeuronTrace => {
    const sets = tokens.map((layers) => layers.map((chosen) => Uint32Array.from(chosen.sort((a, b) => a - b))));
    return { nLayers: 2, dFf: COUNT, tokens: sets };
  });

it("have the hits of a replay for every number of slots that holds what a token chooses", () => {
  fc.assert(
    fc.property(traces, (recorded) => {
      const trace = decodeTrace(encodeTrace(recorded));
      const { hitShareByLayer } = localityOfTrace("random", trace.tokens, [COUNT, COUNT]);
      for (let slots = 3; slots < COUNT; slots++) {
        for (const policy of [lruPolicy, () => windowPolicy(Number.POSITIVE_INFINITY)]) {
          const { layers } = replayTrace(trace, { slots, policy, slotBytes: 1 });
          for (const [layer, { hits, misses }] of layers.entries()) {
            expect(hits + misses).toBe(3 * trace.tokens.length);
            expect(hitShareByLayer[layer]![slots]! * (hits + misses)).toBeCloseTo(hits, 6);
          }
        }
      }
    }),
  );
});
