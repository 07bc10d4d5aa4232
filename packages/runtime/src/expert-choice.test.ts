import type { ExpertsGeometry } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AS_ROUTED, chooseExperts } from "./expert-choice.js";
import { routeToken } from "./router.js";

function experts(count: number, chosen: number, router: Partial<ExpertsGeometry["router"]> = {}): ExpertsGeometry {
  return { count, chosen, router: { softmax: "all", normalised: false, bias: false, ...router }, shared: null };
}

/** Softmax shares 1, 2, 4 and 8 of 15. */
const logits = Float32Array.of(0, Math.log(2), Math.log(4), Math.log(8));
const nowhere = () => false;
const closeTo = (weights: number[]) => weights.map((weight) => expect.closeTo(weight, 6));

describe("chooseExperts", () => {
  it("as routed is the router's route, whatever is resident", () => {
    const route = chooseExperts(logits, experts(4, 2), 0, AS_ROUTED, () => true);
    expect(route.used).toBe(route.wanted);
    expect(route.used).toEqual(routeToken(logits, experts(4, 2), 0));
  });

  it("takes the first k of the router's, with weights by its own rule", () => {
    const fewer = { perToken: 2, preference: null };
    const weights = (router: Partial<ExpertsGeometry["router"]>) => {
      const { used, wanted } = chooseExperts(logits, experts(4, 3, router), 0, fewer, nowhere);
      expect([[...used.experts], [...wanted.experts]]).toEqual([
        [2, 3],
        [1, 2, 3],
      ]);
      return [...used.weights];
    };
    expect(weights({})).toEqual(closeTo([4 / 15, 8 / 15]));
    expect(weights({ normalised: true })).toEqual(closeTo([1 / 3, 2 / 3]));
    expect(weights({ softmax: "chosen" })).toEqual(closeTo([1 / 3, 2 / 3]));
  });

  it("is all of a layer's experts where its router chooses no more than k", () => {
    const { used, wanted } = chooseExperts(logits, experts(4, 2), 0, { perToken: 3, preference: null }, nowhere);
    expect(used).toBe(wanted);
  });

  it("ranks what is resident higher by a share of the range, and weighs it as the router does", () => {
    // The range is log 8: a third of it makes up for one step of log 2.
    const prefer = (lambda: number, alwaysKept: number) => ({ perToken: null, preference: { lambda, alwaysKept } });
    const used = (lambda: number, alwaysKept: number) =>
      chooseExperts(logits, experts(4, 2), 0, prefer(lambda, alwaysKept), (expert) => expert < 2).used;
    expect([...used(0.3, 1).experts]).toEqual([2, 3]);
    expect([...used(0.4, 1).experts]).toEqual([1, 3]);
    expect([...used(0.4, 1).weights]).toEqual(closeTo([2 / 15, 8 / 15]));
    expect([...used(1.1, 1).experts]).toEqual([1, 3]);
    expect([...used(1.1, 0).experts]).toEqual([0, 1]);
  });

  it("keeps the router's first experts and never uses more than it would", () => {
    const any = fc.float32Array({ minLength: 4, maxLength: 32, noNaN: true, min: -8, max: 8 });
    fc.assert(
      fc.property(any, fc.nat(), fc.nat(3), fc.float({ min: 0, max: 2, noNaN: true }), (z, seed, keep, lambda) => {
        const geometry = experts(z.length, 1 + (seed % 4));
        const choice = { perToken: 1 + (seed % 3), preference: { lambda, alwaysKept: keep } };
        const { used, wanted } = chooseExperts(z, geometry, 0, choice, (expert) => expert % 3 === seed % 3);
        expect(used.experts).toHaveLength(Math.min(geometry.chosen, choice.perToken));
        const first = routeToken(z, experts(z.length, Math.max(1, Math.min(keep, used.experts.length))), 0);
        if (keep > 0) expect([...used.experts]).toEqual(expect.arrayContaining([...first.experts]));
        for (const [i, expert] of used.experts.entries()) {
          const at = wanted.experts.indexOf(expert);
          if (at >= 0) expect(used.weights[i]).toBe(wanted.weights[at]);
        }
      }),
    );
  });

  it("refuses a logit that is no number as the router does", () => {
    const choice = { perToken: 1, preference: { lambda: 1, alwaysKept: 1 } };
    expect(() => chooseExperts(Float32Array.of(1, Number.NaN), experts(2, 1), 3, choice, nowhere)).toThrow(
      expect.objectContaining({ code: "INTEGRITY_ROUTER" }),
    );
  });
});
