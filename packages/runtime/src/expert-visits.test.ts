import fc from "fast-check";
import { expect, it } from "vitest";
import { planVisits } from "./expert-visits.js";
import type { TokenRoute } from "./router.js";

function route(...experts: number[]): TokenRoute {
  return { experts: Uint32Array.from(experts), weights: Float32Array.from(experts, (expert) => expert / 8) };
}

it("an expert is visited once, for all rows that use it, in the order of experts", () => {
  const weights = (expert: number) => Float32Array.of(expert / 8, expert / 8);
  expect([...planVisits([route(1, 4), route(4, 7), route(1, 7)]).values()]).toEqual([
    { expert: 1, rows: Uint32Array.of(0, 2), weights: weights(1), firstOutput: 0 },
    { expert: 4, rows: Uint32Array.of(0, 1), weights: weights(4), firstOutput: 2 },
    { expert: 7, rows: Uint32Array.of(1, 2), weights: weights(7), firstOutput: 4 },
  ]);
});

it("every row meets each of its experts once, ascending, with its own weight, and no output is shared", () => {
  const anyRoute = fc
    .uniqueArray(fc.tuple(fc.nat(15), fc.float({ min: 0, max: 1, noNaN: true })), {
      ...{ minLength: 1, maxLength: 6, selector: ([expert]: [number, number]) => expert },
    })
    .map((set) => set.sort(([a], [b]) => a - b))
    .map(
      (set): TokenRoute => ({
        experts: Uint32Array.from(set, ([expert]) => expert),
        weights: Float32Array.from(set, ([, weight]) => weight),
      }),
    );
  fc.assert(
    fc.property(fc.array(anyRoute, { minLength: 1, maxLength: 9 }), (routes) => {
      const met: [number, number][][] = routes.map(() => []);
      let outputs = 0;
      for (const { expert, rows, weights, firstOutput } of planVisits(routes).values()) {
        expect(firstOutput).toBe(outputs);
        outputs += rows.length;
        for (const [i, row] of rows.entries()) met[row]!.push([expert, weights[i]!]);
      }
      expect(met).toEqual(routes.map(({ experts, weights }) => Array.from(experts, (e, i) => [e, weights[i]])));
      expect(outputs).toBe(routes.reduce((sum, { experts }) => sum + experts.length, 0));
    }),
  );
});
