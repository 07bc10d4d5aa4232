import { expect, it } from "vitest";
import { planArenas } from "./arena-plan.js";

it("keeps layers in order and every arena within its limit", () => {
  const plan = planArenas([30, 30, 30, 30], 20, 10, 70);
  expect(plan).toEqual({ arenaOfLayer: [0, 1, 1, 2], bytesByArena: [60, 70, 40] });
});
it("uses one arena where everything fits", () => {
  expect(planArenas([30, 30], 20, 10, 100).arenaOfLayer).toEqual([0, 0]);
});
it("refuses a layer that no arena holds", () => {
  expect(() => planArenas([80], 0, 10, 70)).toThrowError(expect.objectContaining({ code: "BUDGET_TOO_SMALL" }));
});
