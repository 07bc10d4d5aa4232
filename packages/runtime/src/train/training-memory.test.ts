/** Arithmetic of budgets, against plans that are made up. */
import { BudgetError } from "@flashwick/core";
import type { MemoryPlan } from "@flashwick/cost-model";
import { describe, expect, it } from "vitest";
import { engineShare, type PlanEngine, planRecordings, planTrainings, smallestEngineBytes } from "./training-memory.js";

/** An engine that works from 100 bytes on, and from 200 on takes many tokens at a time. */
const engine: PlanEngine = (budgetBytes) => {
  if (budgetBytes >= 100) return { batchTokens: budgetBytes >= 200 ? 128 : 1 } as MemoryPlan;
  // As the real one: the first answer is of a request for one token, and too small.
  const details = { smallestBudgetBytes: budgetBytes < 90 ? 90 : 100 };
  throw new BudgetError("BUDGET_TOO_SMALL", "too small", { details });
};

describe("an engine's share", () => {
  it("is found by asking until the answer stands", () => {
    expect(smallestEngineBytes(engine)).toBe(100);
  });
  it("is what is left, or a refusal that names the smallest for both", () => {
    expect(engineShare("judging", 130, 30, engine)).toBe(100);
    expect(() => engineShare("judging", 129, 30, engine)).toThrow(
      expect.objectContaining({
        message: "judging: found a DRAM budget of 129 B, expected at least 130 bytes (130 B); give that much",
        details: { budgetBytes: 129, smallestBudgetBytes: 130 },
      }),
    );
  });
  it("does not take other failures for a budget", () => {
    const broken: PlanEngine = () => {
      throw new Error("broken");
    };
    expect(() => smallestEngineBytes(broken)).toThrow("broken");
  });
});

describe("recordings", () => {
  it.each([
    ["fit twice, as fast as alone", 420, { atOnce: 2, engineBudgetBytes: 200 }],
    ["would fit twice, but each would read the model more often", 419, { atOnce: 1, engineBudgetBytes: 409 }],
    ["fit twice where one alone is as slow", 219, { atOnce: 1, engineBudgetBytes: 209 }],
    ["fit once", 110, { atOnce: 1, engineBudgetBytes: 100 }],
  ])("%s", (_, budgetBytes, expected) => {
    expect(planRecordings(budgetBytes, 10, engine, 2)).toEqual(expected);
  });
  it("are slow in any case: side by side", () => {
    const slow: PlanEngine = (budgetBytes) => ({ ...engine(budgetBytes), batchTokens: 1 });
    expect(planRecordings(220, 10, slow, 2)).toEqual({ atOnce: 2, engineBudgetBytes: 100 });
  });
  it("that do not fit once are refused", () => {
    expect(() => planRecordings(109, 10, engine, 2)).toThrow(
      expect.objectContaining({ details: { budgetBytes: 109, smallestBudgetBytes: 110 } }),
    );
  });
});

describe("trainings", () => {
  it.each([
    ["all that are wanted, and samples in what is left", 500, 3, { atOnce: 3, sampleBytes: 50 }],
    ["as many as fit", 280, 3, { atOnce: 2, sampleBytes: 15 }],
    ["one, with all samples on disk", 150, 3, { atOnce: 1, sampleBytes: 0 }],
  ])("%s", (_, budgetBytes, most, expected) => {
    expect(planTrainings(budgetBytes, 50, 100, most)).toEqual(expected);
  });
  it("that do not fit are refused", () => {
    expect(() => planTrainings(149, 50, 100, 3)).toThrow(
      expect.objectContaining({ details: { budgetBytes: 149, smallestBudgetBytes: 150 } }),
    );
  });
});
