import { describe, expect, it } from "vitest";
import { ggufBytes, openFixture, openModelBytes } from "./checkpoint.fixture.js";

const open = (options: object) =>
  openModelBytes(ggufBytes("olmoe"), "olmoe", { contextTokens: 32, kvPrecision: "f32", ...options });

async function budgets(options: object) {
  const model = await open(options);
  const { smallestBudgetBytes } = model.plan(1);
  const { neededBudgetBytes } = model.cacheFit()!;
  await model.close();
  return { smallestBudgetBytes, neededBudgetBytes };
}

describe("cacheFit", () => {
  it("finds slots for fewer experts than a token uses of a layer, and names the budget from which they fit", async () => {
    const { smallestBudgetBytes, neededBudgetBytes } = await budgets({});
    const small = await open({ dramBudgetBytes: smallestBudgetBytes });
    const expected = { units: "experts", budgetBytes: smallestBudgetBytes, neededBudgetBytes };
    expect(small.cacheFit()).toEqual({ ...expected, fits: false });
    const large = await open({ dramBudgetBytes: neededBudgetBytes });
    expect(large.cacheFit()).toEqual({ ...expected, fits: true, budgetBytes: neededBudgetBytes });
    for (const model of [small, large]) await model.close();
  });

  it("finds a pool too small for a token of all layers by a policy that goes in circles, and not by least-stale", async () => {
    const pool = { cacheScope: "pool" } as const;
    const { smallestBudgetBytes, neededBudgetBytes } = await budgets(pool);
    const dramBudgetBytes = Math.ceil((smallestBudgetBytes + neededBudgetBytes) / 2);
    for (const [policy, fits] of [
      ["lru", false],
      ["least-stale", true],
    ] as const) {
      const model = await open({ ...pool, policy, dramBudgetBytes });
      expect([policy, model.cacheFit()!.fits]).toEqual([policy, fits]);
      await model.close();
    }
  });

  it("is null where whole layers are kept", async () => {
    const dense = await openFixture("opt-tiny-sharded");
    expect(dense.cacheFit()).toBeNull();
    await dense.close();
  });
});
