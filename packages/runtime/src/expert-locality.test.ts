/** The curves that the cost model makes of a trace, against the engine's own cache. */
import { localityOfTrace } from "@flashwick/cost-model";
import { lruPolicy, windowPolicy } from "@flashwick/dram-cache";
import { decodeTrace, encodeTrace, type NeuronTrace, replayTrace } from "@flashwick/dram-cache/simulate";
import fc from "fast-check";
import { expect, it } from "vitest";
import { cachePolicy, POLICIES } from "./cache-policy.js";
import { policyLocality } from "./policy-locality.js";

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

it.each(POLICIES)("of %s are those of its replay at the slots that are asked for, and rise from 0 to 1", (name) => {
  const policy = { policy: name, windowTokens: null };
  fc.assert(
    fc.property(traces, fc.integer({ min: 3, max: COUNT - 1 }), (recorded, slots) => {
      const trace = decodeTrace(encodeTrace(recorded));
      const options = { policy, counts: [COUNT, COUNT], slots: [slots] };
      const { hitShareByLayer } = policyLocality("random", trace, options);
      const { layers } = replayTrace(trace, { slots, policy: () => cachePolicy(policy, COUNT), slotBytes: 1 });
      for (const [layer, { hits, misses }] of layers.entries()) {
        const curve = hitShareByLayer[layer]!;
        expect(curve[slots]! * (hits + misses)).toBeCloseTo(hits, 6);
        expect([curve[0], curve[COUNT]]).toEqual([0, 1]);
        for (let i = 1; i <= COUNT; i++) expect(curve[i]).toBeGreaterThanOrEqual(curve[i - 1]!);
      }
    }),
  );
});
