import type { ExpertsGeometry } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { routeToken } from "./router.js";

function experts(count: number, chosen: number, router: Partial<ExpertsGeometry["router"]> = {}): ExpertsGeometry {
  return { count, chosen, router: { softmax: "all", normalised: false, bias: false, ...router }, shared: null };
}

const logits = Float32Array.of(0, Math.log(2), -1, Math.log(4));

describe("routeToken", () => {
  it("weighs by the softmax over all experts, as it is or divided by its sum (OLMoE, Mixtral)", () => {
    const sum = 1 + 2 + Math.exp(-1) + 4;
    const plain = routeToken(logits, experts(4, 2), 0);
    expect([...plain.experts]).toEqual([1, 3]);
    expect([...plain.weights]).toEqual([Math.fround(2 / sum), Math.fround(4 / sum)].map((w) => expect.closeTo(w, 6)));
    const normalised = routeToken(logits, experts(4, 2, { normalised: true }), 0);
    expect([...normalised.weights]).toEqual([expect.closeTo(1 / 3, 6), expect.closeTo(2 / 3, 6)]);
  });

  it("weighs by the softmax over the chosen experts (gpt-oss)", () => {
    const { weights } = routeToken(logits, experts(4, 3, { softmax: "chosen" }), 0);
    expect([...weights]).toEqual([1, 2, 4].map((share) => expect.closeTo(share / 7, 6)));
  });

  it("of equal logits takes the lowest experts", () => {
    expect([...routeToken(new Float32Array(8), experts(8, 3), 0).experts]).toEqual([0, 1, 2]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("refuses the logit %s", (logit) => {
    expect(() => routeToken(Float32Array.of(1, logit, 0), experts(3, 1), 5)).toThrow(
      expect.objectContaining({ code: "INTEGRITY_ROUTER", details: { layer: 5, expert: 1, logit: String(logit) } }),
    );
  });

  it("chooses the largest, ascending, with finite weights that add up to at most 1", () => {
    const anyLogits = fc.float32Array({ minLength: 1, maxLength: 64, noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(anyLogits, fc.nat(), fc.boolean(), fc.boolean(), (z, seed, normalised, all) => {
        const chosen = 1 + (seed % z.length);
        const geometry = experts(z.length, chosen, { normalised, softmax: all ? "all" : "chosen" });
        const route = routeToken(z, geometry, 0);
        const expected = [...z.keys()].sort((a, b) => z[b]! - z[a]! || a - b).slice(0, chosen);
        expect([...route.experts]).toEqual(expected.sort((a, b) => a - b));
        const sum = route.weights.reduce((a, b) => a + b, 0);
        expect(sum).toBeLessThan(1 + 1e-5);
        if (normalised || !all) expect(sum).toBeCloseTo(1, 5);
      }),
    );
  });
});
