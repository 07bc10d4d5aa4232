import fc from "fast-check";
import { expect, it } from "vitest";
import { planVisits } from "./expert-visits.js";
import type { TokenRoute } from "./router.js";

function route(...experts: number[]): TokenRoute {
  return { experts: Uint32Array.from(experts), weights: Float32Array.from(experts, (expert) => expert / 8) };
}

it("an expert is visited once, for all rows that use it, and a row's sum is in the order of experts", () => {
  const { visits, sums } = planVisits([route(1, 4), route(4, 7), route(1, 7)]);
  expect([...visits.values()]).toEqual([
    { expert: 1, rows: Uint32Array.of(0, 2), firstOutput: 0 },
    { expert: 4, rows: Uint32Array.of(0, 1), firstOutput: 2 },
    { expert: 7, rows: Uint32Array.of(1, 2), firstOutput: 4 },
  ]);
  expect(sums).toEqual([
    [
      { output: 0, weight: 1 / 8 },
      { output: 2, weight: 4 / 8 },
    ],
    [
      { output: 3, weight: 4 / 8 },
      { output: 4, weight: 7 / 8 },
    ],
    [
      { output: 1, weight: 1 / 8 },
      { output: 5, weight: 7 / 8 },
    ],
  ]);
});

it("every output is that of one row and one of its experts, and is added once", () => {
  const anyRoute = fc
    .uniqueArray(fc.nat(15), { minLength: 1, maxLength: 6 })
    .map((set) => route(...set.sort((a, b) => a - b)));
  fc.assert(
    fc.property(fc.array(anyRoute, { minLength: 1, maxLength: 9 }), (routes) => {
      const { visits, sums } = planVisits(routes);
      const owner = new Map<number, readonly [number, number]>();
      for (const { expert, rows, firstOutput } of visits.values()) {
        for (const [i, row] of rows.entries()) owner.set(firstOutput + i, [row, expert]);
      }
      for (const [row, outputs] of sums.entries()) {
        expect(outputs.map(({ output }) => owner.get(output))).toEqual(
          Array.from(routes[row]!.experts, (expert) => [row, expert]),
        );
      }
      expect(owner.size).toBe(routes.reduce((sum, { experts }) => sum + experts.length, 0));
    }),
  );
});
