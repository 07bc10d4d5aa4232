import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lruPolicy } from "../lru-policy.js";
import { createNeuronCache } from "../slot-cache.js";
import { windowPolicy } from "../window-policy.js";
import { replayTrace } from "./replay.js";
import { oneLayer, randomTraces } from "./traces.fixture.js";

describe("replayTrace", () => {
  it("counts the bytes of misses, and the window that the slots held", () => {
    const trace = oneLayer(8, [1, 2], [2, 3], [4]);
    const result = replayTrace(trace, { slots: 3, policy: lruPolicy, slotBytes: 1024 });
    expect(result).toMatchObject({
      total: { tokens: 3, named: 5, hits: 1, misses: 4, evicted: 1 },
      flashBytesByLayer: [4096],
      flashBytes: 4096,
      meanWindowTokens: [(1 + 2 + 2) / 3],
    });
  });
  it("replays each layer with its own slots and policy, as a cache that is asked token by token", () => {
    fc.assert(
      fc.property(randomTraces(12), fc.integer({ min: 1, max: 20 }), (trace, slots) => {
        const slotsByLayer = Array.from({ length: trace.nLayers }, (_, layer) => slots + layer);
        const policy = (layer: number) => windowPolicy(layer + 1);
        const { layers, total } = replayTrace(trace, { slots: slotsByLayer, policy, slotBytes: 1 });
        for (const [layer, slotCount] of slotsByLayer.entries()) {
          const cache = createNeuronCache({ dFf: trace.dFf, slotCount, policy: policy(layer) });
          for (const sets of trace.tokens) for (const _ of cache.admit(sets[layer]!));
          expect(layers[layer]).toEqual(cache.counters);
        }
        expect(total.misses).toBe(layers.reduce((sum, { misses }) => sum + misses, 0));
      }),
    );
  });
  it("admits several tokens at once, as an engine does that verifies drafts", () => {
    fc.assert(
      fc.property(
        randomTraces(12),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 4 }),
        (trace, slots, n) => {
          const { layers } = replayTrace(trace, { slots, policy: () => windowPolicy(2), slotBytes: 1, stepTokens: n });
          for (const [layer, counters] of layers.entries()) {
            const cache = createNeuronCache({ dFf: trace.dFf, slotCount: slots, policy: windowPolicy(2) });
            const sets = trace.tokens.map((layers) => layers[layer]!);
            for (let t = 0; t < sets.length; t += n) for (const _ of cache.admit(sets.slice(t, t + n)));
            expect(counters).toEqual(cache.counters);
            expect(counters.tokens).toBe(sets.length);
          }
        },
      ),
    );
  });
  it("shows steps by their first token, and takes the mean window over them", () => {
    const seen: number[] = [];
    const trace = oneLayer(8, [1, 2], [2, 3], [4]);
    const onWave = (_: number, token: number) => seen.push(token);
    const result = replayTrace(trace, { slots: 3, policy: lruPolicy, slotBytes: 1024, stepTokens: 2, onWave });
    expect(seen).toEqual([0, 2]);
    expect(result).toMatchObject({
      total: { tokens: 3, named: 5, hits: 1, misses: 4 },
      meanWindowTokens: [(2 + 2) / 2],
    });
  });
  it.each([0, 1.5])("refuses steps of %s tokens", (stepTokens) => {
    const options = { slots: 3, policy: lruPolicy, slotBytes: 1, stepTokens };
    expect(() => replayTrace(oneLayer(8, [1]), options)).toThrowError(
      expect.objectContaining({
        code: "INPUT_INVALID",
        message: `steps of ${stepTokens} tokens, expected an integer of at least 1`,
      }),
    );
  });
  it.each([
    ["slots of another number of layers", oneLayer(8, [1]), [4, 4]],
    ["a trace that is not one", oneLayer(8, [9]), 4],
  ])("refuses %s", (_, trace, slots) => {
    expect(() => replayTrace(trace, { slots, policy: lruPolicy, slotBytes: 1 })).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  });
});
