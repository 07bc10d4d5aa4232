import { describe, expect, it } from "vitest";
import { dipShares, type PruningPlan, parsePruningPlan, uniformPlan, unitsOfShare } from "./pruning-plan.js";

const model = { layers: new Array(3) };

describe("the split of DIP", () => {
  it("spends two thirds of the budget on inputs, and keeps all of both at 1", () => {
    expect(dipShares(1)).toEqual({ inputs: 1, outputs: 1 });
    for (const keep of [0.3, 0.5, 0.75, 0.9]) {
      const { inputs, outputs } = dipShares(keep);
      expect((2 / 3) * inputs + (1 / 3) * outputs).toBeCloseTo(keep, 12);
    }
  });
  it("at a half keeps σ(0.29976) of the inputs", () => {
    expect(dipShares(0.5).inputs).toBeCloseTo(0.574384, 6);
    expect(dipShares(0.5).outputs).toBeCloseTo(0.351232, 5);
  });
  it.each([0, -1, 1.01, Number.NaN])("refuses a share of %s", (keep) => {
    expect(() => dipShares(keep)).toThrow(`a share of ${keep} of the weights`);
  });
});

it("a share is of units, to the nearest, and at least one", () => {
  expect([0.5, 0.001, 1].map((share) => unitsOfShare(share, 577))).toEqual([289, 1, 577]);
});

describe("a plan as a document", () => {
  const plan: PruningPlan = uniformPlan("dip", 3, { inputs: 0.5, outputs: 0.25 });

  it("is what it was after it has been written and read", () => {
    expect(parsePruningPlan(JSON.parse(JSON.stringify(plan)), "plan.json", model)).toEqual(plan);
    const thresholds = { ...plan, method: "teal", layers: plan.layers.map(() => above(0.5)) };
    expect(parsePruningPlan(JSON.parse(JSON.stringify(thresholds)), "plan.json", model)).toEqual(thresholds);
  });

  it("a method of lists within lists ended in an error without a type, out of stack", () => {
    const method: unknown = JSON.parse("[".repeat(50_000) + "]".repeat(50_000));
    expect(() => parsePruningPlan({ ...plan, method }, "plan.json", model)).toThrow("field method is [[[");
  });

  it.each([
    ["(all of it)", null, "an object"],
    ["schemaVersion", { ...plan, schemaVersion: 2 }, "1"],
    ["method", { ...plan, method: "wanda" }, "one of oracle, cats, teal, dip, dip-norms"],
    ["source", { ...plan, source: undefined }, "a text"],
    ["layers", { ...plan, layers: plan.layers.slice(1) }, "the 3 layers of this model"],
    ["layers[1]", withLayer(4), "an object"],
    ["layers[1].inputs.share", withLayer(top(0)), "a number above 0"],
    ["layers[1].inputs.share", withLayer(top(1.5)), "a number above 0"],
    ["layers[1].outputs", withLayer({ inputs: { rule: "all" } }), "an object"],
    ["layers[1].inputs.threshold", withLayer(above(-1)), "a finite number"],
    ["layers[1].inputs.rule", withLayer({ ...above(1), inputs: { rule: "most" } }), 'one of "all"'],
  ])("with a bad %s is refused by that name", (field, value, expected) => {
    expect(() => parsePruningPlan(value, "plan.json", model)).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", details: { field } }),
    );
    expect(() => parsePruningPlan(value, "plan.json", model)).toThrow(`plan.json: field ${field} is`);
    expect(() => parsePruningPlan(value, "plan.json", model)).toThrow(`expected ${expected}`);
  });

  function withLayer(layer: unknown): unknown {
    return { ...plan, layers: plan.layers.map((own, l) => (l === 1 ? layer : own)) };
  }
});

function top(share: number) {
  return { inputs: { rule: "top", share }, outputs: { rule: "all" } };
}

function above(threshold: number) {
  return { inputs: { rule: "above", threshold }, outputs: { rule: "above", threshold: 1 } };
}
