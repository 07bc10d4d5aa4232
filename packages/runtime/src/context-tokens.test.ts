import { describe, expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import { reservedTokens } from "./context-tokens.js";
import type { ModelOptions } from "./model-options.js";

const NAME = "opt-tiny-sharded";
const tooMuch = new Error("too much");

/** What a budget that holds `held` tokens gives, and how many plans it took. */
function reserve(most: number, least: number, held: number, contextLength: number) {
  let plans = 0;
  const plan = (tokens: number) => {
    plans++;
    if (tokens > held) throw tooMuch;
    return { batchTokens: 4 };
  };
  const tokens = reservedTokens({ most, least }, contextLength, plan, (error) => error === tooMuch);
  return { tokens, plans };
}

describe("a range of tokens", () => {
  it("comes to the most that fits, as trying one after the other would", () => {
    for (const contextLength of [5, 12, 100]) {
      for (const most of [1, 2, 3, 12, 64]) {
        for (let held = 1; held <= 70; held++) {
          expect(reserve(most, 1, held, contextLength).tokens).toBe(Math.min(most, held, contextLength));
        }
      }
    }
  });
  it("takes a plan for each halving", () => {
    expect(reserve(2048, 256, 1000, 1e6).plans).toBeLessThanOrEqual(1 + 11);
  });
  it("leaves room for batches of a prompt, and is the least where there is none", () => {
    const plan = (tokens: number) => ({ batchTokens: tokens > 700 ? 2 : tokens > 300 ? 4 : 128 });
    expect(reservedTokens({ most: 2048, least: 256 }, 1e6, plan, () => false)).toBe(700);
    expect(reservedTokens({ most: 2048, least: 800 }, 1e6, plan, () => false)).toBe(800);
  });
  it("is refused as its least is", () => {
    expect(() => reserve(20, 10, 9, 100)).toThrow(tooMuch);
  });
  it("passes on what is wrong beside the budget", () => {
    const plan = (tokens: number) => {
      if (tokens > 4) throw new Error("no such layer");
      return { batchTokens: 4 };
    };
    expect(() => reservedTokens({ most: 8, least: 1 }, 8, plan, () => false)).toThrow("no such layer");
  });
});

/** Of a model with so many tokens of context, that takes in its prompt four tokens at a time. */
async function leastBudget(contextTokens: number): Promise<number> {
  const whole = await openFixture(NAME, { kvPrecision: "f16" });
  let { smallestBudgetBytes: budget } = whole.plan(contextTokens);
  await whole.close();
  for (;;) {
    const model = await openFixture(NAME, { dramBudgetBytes: budget, kvPrecision: "f16", contextTokens });
    const { batchTokens } = model.plan(contextTokens);
    await model.close();
    if (batchTokens >= 4) return budget;
    budget += 2048;
  }
}

describe("contextTokens of a model", () => {
  it("is as many tokens as the budget holds beside a prompt's batches, and no token more", async () => {
    const { header } = await openFixture(NAME);
    const { contextLength } = header.geometry;
    const dramBudgetBytes = await leastBudget(contextLength / 2);
    const options: ModelOptions = { dramBudgetBytes, kvPrecision: "f16" };
    const model = await openFixture(NAME, { ...options, contextTokens: { most: contextLength, least: 16 } });
    const tokens = model.contextTokens!;
    expect(tokens).toBeGreaterThanOrEqual(contextLength / 2);
    expect(tokens).toBeLessThan(contextLength);
    expect(model.plan(1)).toMatchObject({ contextTokens: tokens });
    expect(model.plan(1).batchTokens).toBeGreaterThanOrEqual(4);
    await model.close();
    const longer = await openFixture(NAME, { ...options, contextTokens: tokens + 1 }).catch(() => null);
    expect(longer?.plan(1).batchTokens ?? 1).toBeLessThan(4);
    await longer?.close();
  });
  it("ends where the model does", async () => {
    const model = await openFixture(NAME, { contextTokens: { most: 1_000_000, least: 500_000 } });
    expect(model.contextTokens).toBe(model.header.geometry.contextLength);
    await model.close();
  });
  it("refuses a budget that does not hold the least, naming it", async () => {
    const options = { dramBudgetBytes: 1024, contextTokens: { most: 64, least: 32 } };
    await expect(openFixture(NAME, options)).rejects.toMatchObject({
      code: "BUDGET_TOO_SMALL",
      details: { contextTokens: 32 },
    });
  });
  it.each([
    { most: 8, least: 9 },
    { most: 8, least: 0 },
    { most: 8.5, least: 1 },
    { most: Number.NaN, least: 1 },
  ])("refuses from $least to $most", async (contextTokens) => {
    await expect(openFixture(NAME, { contextTokens })).rejects.toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining("contextTokens is from"),
    });
  });
});
