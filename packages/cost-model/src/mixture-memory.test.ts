import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planMemory } from "./memory-plan.js";
import { experts, layer, memoryOf, mixture, mixtures, shapeWith } from "./mixture.fixture.js";

describe("the memory of a mixture", () => {
  const half = { ...layer, experts: { ...experts, slotBytes: 5e5, pieceBytes: [5e5] } };
  const dense = { experts: null, resident: [] };
  const shape = shapeWith({ layers: [layer, half, dense, layer] });

  it("never exceeds the budget, to the byte, and gives every layer with experts a slot", () => {
    fc.assert(
      fc.property(mixtures, fc.nat(80_000_000), (of, extra) => {
        const any = shapeWith(of);
        const { smallestBudgetBytes } = planMemory(memoryOf(any, null));
        const plan = planMemory(memoryOf(any, smallestBudgetBytes + extra));
        expect(plan.dram.total).toBeLessThanOrEqual(plan.dram.budget);
        const bytes = plan.slotsByLayer.map((slots, l) => slots * (48 + (of.layers[l]!.experts?.slotBytes ?? 0)));
        expect(plan.dram.neuronCache).toBe(1000 + bytes.reduce((a, b) => a + b, 0));
        for (const [l, { experts: e }] of of.layers.entries()) {
          expect(plan.slotsByLayer[l]).toBeGreaterThanOrEqual(e ? 1 : 0);
          expect(plan.slotsByLayer[l]).toBeLessThanOrEqual(e?.count ?? 0);
        }
      }),
    );
  });
  it("never leaves a layer fewer slots for a larger budget, whatever slots cost in others", () => {
    fc.assert(
      fc.property(mixtures, fc.nat(60_000_000), fc.nat(30_000_000), (of, extra, more) => {
        const any = shapeWith(of);
        const { smallestBudgetBytes } = planMemory(memoryOf(any, null));
        const at = (beyond: number) => planMemory(memoryOf(any, smallestBudgetBytes + beyond)).slotsByLayer;
        const large = at(extra + more);
        for (const [l, slots] of at(extra).entries()) expect(large[l]).toBeGreaterThanOrEqual(slots);
      }),
    );
  });
  it("names the budget with which every layer holds what one token chooses, and no less does", () => {
    fc.assert(
      fc.property(mixtures, (of) => {
        const any = shapeWith(of);
        const { cycleBudgetBytes } = planMemory(memoryOf(any, null));
        const { slotsByLayer } = planMemory(memoryOf(any, cycleBudgetBytes));
        for (const [l, { experts: e }] of of.layers.entries()) {
          expect(slotsByLayer[l]).toBeGreaterThanOrEqual(e?.chosen ?? 0);
        }
      }),
    );
    const { smallestBudgetBytes, cycleBudgetBytes } = planMemory(memoryOf(shape, null));
    expect(cycleBudgetBytes! - smallestBudgetBytes).toBeGreaterThan(3 * (1e6 + 48) * 2 + 3 * (5e5 + 48));
    const below = planMemory(memoryOf(shape, smallestBudgetBytes + 2 * (1e6 + 48)));
    expect(Math.min(...below.slotsByLayer.filter((_, l) => l !== 2))).toBeLessThan(4);
  });
  it("holds all of it without a budget, and gives each layer its slots in proportion to what it chooses", () => {
    expect(planMemory(memoryOf(shape, null)).slotsByLayer).toEqual([16, 16, 0, 16]);
    const twice = shapeWith({ layers: [layer, { ...layer, experts: { ...experts, chosen: 2 } }] });
    const { cycleBudgetBytes } = planMemory(memoryOf(twice, null));
    expect(planMemory(memoryOf(twice, cycleBudgetBytes! + 4_000_000)).slotsByLayer).toEqual([6, 3]);
  });
  it("is the smallest that opens, and a byte less is refused with that number", () => {
    const { smallestBudgetBytes } = planMemory(memoryOf(shape, null));
    expect(planMemory(memoryOf(shape, smallestBudgetBytes)).slotsByLayer).toEqual([1, 1, 0, 1]);
    expect(() => planMemory(memoryOf(shape, smallestBudgetBytes - 1))).toThrow(`${smallestBudgetBytes} bytes`);
  });
  it("counts experts of one size as a plan of neurons does of as many", () => {
    const uniform = memoryOf(shapeWith(mixture), null);
    const { smallestBudgetBytes } = planMemory(uniform);
    const budgetBytes = smallestBudgetBytes + 20_000_000;
    const plan = planMemory({ ...uniform, budgetBytes });
    const geometry = { layers: uniform.geometry.layers.map((of) => ({ ...of, ffn: { dFf: 16 } })) };
    const neurons = planMemory({
      ...uniform,
      experts: undefined,
      geometry,
      namedShareByLayer: [0.25, 0.25, 0.25],
      budgetBytes,
    });
    expect(plan.slotsByLayer).toEqual(neurons.slotsByLayer);
  });
});
