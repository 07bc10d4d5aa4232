import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lruPolicy, pinnedPolicy, windowPolicy } from "../cache-policy.js";
import { clairvoyantPolicy } from "./clairvoyant.js";
import { decodeTrace, encodeTrace, type NeuronTrace } from "./neuron-trace.js";
import { replayTrace } from "./replay.js";

const D_FF = 300;
const traces = (maxSet: number) =>
  fc.integer({ min: 1, max: 3 }).chain((nLayers) => {
    const set = fc
      .uniqueArray(fc.nat(D_FF - 1), { maxLength: maxSet })
      .map((neurons) => Uint32Array.from(neurons).sort());
    const tokens = fc.array(fc.array(set, { minLength: nLayers, maxLength: nLayers }), { maxLength: 25 });
    return tokens.map((t): NeuronTrace => ({ nLayers, dFf: D_FF, tokens: t }));
  });

describe("the trace format", () => {
  it("has these bytes", () => {
    const trace = { nLayers: 1, dFf: 300, tokens: [[Uint32Array.of(0, 1, 200)], [new Uint32Array(0)]] };
    const hex = Buffer.from(encodeTrace(trace)).toString("hex");
    expect(hex).toBe(
      "46575452" + "01000000" + "01000000" + "2c010000" + "02000000" + "03" + "00" + "00" + "c601" + "00",
    );
  });
  it("gives back what was recorded", () => {
    fc.assert(
      fc.property(traces(30), (trace) => {
        expect(decodeTrace(encodeTrace(trace))).toEqual(trace);
      }),
    );
  });
  it("says where a trace is cut off, wherever that is", () => {
    const file = encodeTrace({ nLayers: 2, dFf: 300, tokens: [[Uint32Array.of(1, 2), Uint32Array.of(299)]] });
    for (let size = 0; size < file.length; size++) {
      expect(() => decodeTrace(file.subarray(0, size))).toThrowError(
        expect.objectContaining({ code: "FORMAT_TRUNCATED" }),
      );
    }
  });
  it.each([
    ["other bytes", 0, 7, "FORMAT_INVALID"],
    ["another version", 4, 2, "FORMAT_VERSION"],
    ["no layers", 8, 0, "FORMAT_LIMIT"],
    ["a neuron out of range", 12, 100, "FORMAT_INVALID"],
    ["fewer tokens than follow", 16, 0, "FORMAT_INVALID"],
    ["absurdly many tokens", 19, 255, "FORMAT_TRUNCATED"],
  ])("refuses %s", (_, at, value, code) => {
    const file = encodeTrace({ nLayers: 1, dFf: 200, tokens: [[Uint32Array.of(1, 2, 150)]] });
    file[at] = value;
    expect(() => decodeTrace(file)).toThrowError(expect.objectContaining({ code }));
  });
});

describe("replayTrace", () => {
  it("never finds a policy with fewer misses than the clairvoyant one", () => {
    const window = fc.integer({ min: 1, max: 6 });
    fc.assert(
      fc.property(traces(12), fc.integer({ min: 12, max: 40 }), window, (trace, slots, k) => {
        const misses = (policy: (layer: number) => ReturnType<typeof lruPolicy>) =>
          replayTrace(trace, { slots, policy, slotBytes: 1 }).total.misses;
        const best = misses((layer) => clairvoyantPolicy(trace, layer));
        expect(best).toBeLessThanOrEqual(misses(lruPolicy));
        expect(best).toBeLessThanOrEqual(misses(() => windowPolicy(k)));
        expect(best).toBeLessThanOrEqual(misses(() => pinnedPolicy([1, 2, 3], k)));
      }),
    );
  });
  it("counts bytes of misses", () => {
    const tokens = [[Uint32Array.of(1, 2)], [Uint32Array.of(2, 3)]];
    const result = replayTrace({ nLayers: 1, dFf: 8, tokens }, { slots: 8, policy: lruPolicy, slotBytes: 1024 });
    expect(result).toMatchObject({ total: { hits: 1, misses: 3, named: 4 }, flashBytes: 3072 });
  });
});
