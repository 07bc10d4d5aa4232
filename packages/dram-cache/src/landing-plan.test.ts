import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planLanding } from "./landing-plan.js";

/** Slots of missing neurons, and what stays vacant. */
function land(neurons: readonly number[], vacantSlots: readonly number[]) {
  const vacant = Uint32Array.from(vacantSlots);
  const slots = new Uint32Array(neurons.length);
  planLanding(Uint32Array.from(neurons), Uint32Array.from(neurons.keys()), vacant, slots);
  return { slots: [...slots], rest: [...vacant.subarray(0, vacant.length - neurons.length)] };
}

describe("planLanding", () => {
  it("keeps the order where the first vacant slots are one stretch", () => {
    expect(land([3, 8, 9, 20], [2, 3, 4, 5, 9])).toEqual({ slots: [2, 3, 4, 5], rest: [9] });
  });
  it("gives neighbours a stretch, and others what is left between, in order", () => {
    expect(land([3, 8, 9, 20], [1, 4, 6, 7])).toEqual({ slots: [1, 6, 7, 4], rest: [] });
  });
  it("parts a run of neighbours that no stretch is long enough for", () => {
    expect(land([5, 6, 7, 8, 9], [0, 1, 3, 5, 6, 7])).toEqual({ slots: [0, 1, 5, 6, 7], rest: [3] });
  });
  it("leaves slots as they are where nothing is missing", () => {
    expect(land([], [4, 7])).toEqual({ slots: [], rest: [4, 7] });
  });
  it("touches the slots of misses only", () => {
    const slots = Uint32Array.of(90, 91, 92);
    planLanding(Uint32Array.of(3, 4, 5), Uint32Array.of(1), Uint32Array.of(7, 9), slots);
    expect([...slots]).toEqual([90, 7, 92]);
  });
  it("gives each miss a vacant slot of its own, and keeps the rest ascending", () => {
    const ascending = fc.uniqueArray(fc.nat(40), { maxLength: 20 }).map((set) => set.sort((a, b) => a - b));
    fc.assert(
      fc.property(ascending, ascending, (a, b) => {
        const [neurons, vacant] = a.length <= b.length ? [a, b] : [b, a];
        const { slots, rest } = land(neurons, vacant);
        expect([...slots, ...rest].sort((x, y) => x - y)).toEqual(vacant);
        expect(rest).toEqual([...rest].sort((x, y) => x - y));
      }),
    );
  });
});
