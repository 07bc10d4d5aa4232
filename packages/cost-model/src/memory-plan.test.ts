import { isFlashwickError, type WeightLayout } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planMemory } from "./memory-plan.js";
import type { MemoryRequest } from "./memory-request.js";
import { MIN_SLOTS_PER_LAYER } from "./slot-units.js";

const geometry: MemoryRequest["geometry"] = {
  layers: new Array(4).fill({ attention: { nKvHeads: 4, headDim: 16 }, ffn: { dFf: 256 } }),
};
const weights: WeightLayout = {
  dtype: "f16",
  layout: "bundled",
  strideBytes: 512,
  parts: [],
  slotBytes: 512,
};

function request(more: Partial<MemoryRequest>): MemoryRequest {
  return {
    geometry,
    weights,
    residentBytes: 300_000,
    rowTableBytes: 20_000,
    predictorBytes: 10_000,
    namedShareByLayer: [0.3, 0.05, 0.05, 0.1],
    contextTokens: 100,
    kvPrecision: "auto",
    activationBytes: (batch) => 3000 + 700 * batch,
    slotOverheadBytes: 8,
    cacheFixedBytes: 4096,
    readBufferBytes: 0,
    budgetBytes: null,
    ...more,
  };
}

/** Any request that a model of this kind can lead to. */
const requests = fc
  .record({
    residentBytes: fc.nat(10_000_000),
    rowTableBytes: fc.nat(1_000_000),
    predictorBytes: fc.nat(1_000_000),
    contextTokens: fc.integer({ min: 1, max: 128 }),
    dense: fc.boolean(),
    kvPrecision: fc.constantFrom("auto" as const, "f32" as const, "f16" as const, "int8" as const),
  })
  .map(({ dense, ...more }) => request({ ...more, ...(dense ? { namedShareByLayer: null } : {}) }));

describe("planMemory", () => {
  it("rather holds layers that stream whole than keys and values in f32", () => {
    const asked = request({ namedShareByLayer: null, contextTokens: 1000 });
    const ample = planMemory(asked).dram.budget;
    const tight = ample - 300_000;
    expect(planMemory({ ...asked, budgetBytes: tight }).kvPrecision).toBe("f32");
    const whole = { ...asked, streamsLayers: true };
    expect(planMemory({ ...whole, budgetBytes: tight })).toMatchObject({
      kvPrecision: "f16",
      slotsByLayer: [256, 256, 256, 256],
    });
    expect(planMemory({ ...whole, budgetBytes: ample }).kvPrecision).toBe("f32");
    expect(planMemory({ ...whole, budgetBytes: tight, kvPrecision: "f32" }).kvPrecision).toBe("f32");
  });
  it("never exceeds the budget, and gives every layer its least slots", () => {
    fc.assert(
      fc.property(requests, fc.nat(4_000_000), (asked, extra) => {
        const { smallestBudgetBytes } = planMemory(asked);
        const plan = planMemory({ ...asked, budgetBytes: smallestBudgetBytes + extra });
        expect(plan.dram.total).toBeLessThanOrEqual(plan.dram.budget);
        for (const slots of plan.slotsByLayer) {
          expect(slots).toBeGreaterThanOrEqual(MIN_SLOTS_PER_LAYER);
          expect(slots).toBeLessThanOrEqual(256);
        }
      }),
    );
  });
  it("accepts the smallest budget that it names, and refuses one byte less with that number", () => {
    fc.assert(
      fc.property(requests, (asked) => {
        const { smallestBudgetBytes } = planMemory(asked);
        expect(planMemory({ ...asked, budgetBytes: smallestBudgetBytes }).smallestBudgetBytes).toBe(
          smallestBudgetBytes,
        );
        try {
          planMemory({ ...asked, budgetBytes: smallestBudgetBytes - 1 });
          expect.unreachable();
        } catch (error) {
          expect(isFlashwickError(error) && error.code).toBe("BUDGET_TOO_SMALL");
          expect(isFlashwickError(error) && error.details.smallestBudgetBytes).toBe(smallestBudgetBytes);
        }
      }),
    );
  });
  it("never leaves a layer fewer slots for a larger budget, at one precision of keys and values", () => {
    fc.assert(
      fc.property(requests, fc.nat(2_000_000), fc.nat(200_000), (asked, extra, more) => {
        const pinned = { ...asked, kvPrecision: "f16" as const };
        const { smallestBudgetBytes } = planMemory(pinned);
        const at = (budgetBytes: number) => planMemory({ ...pinned, budgetBytes });
        const small = at(smallestBudgetBytes + extra);
        const large = at(smallestBudgetBytes + extra + more);
        expect(large.batchTokens).toBeGreaterThanOrEqual(small.batchTokens);
        if (asked.namedShareByLayer === null) {
          const whole = ({ slotsByLayer }: typeof small) => slotsByLayer.filter((slots) => slots === 256).length;
          expect(whole(large)).toBeGreaterThanOrEqual(whole(small));
          return;
        }
        for (const [l, slots] of large.slotsByLayer.entries())
          expect(slots).toBeGreaterThanOrEqual(small.slotsByLayer[l]!);
      }),
    );
  });
  it("names the budget that holds what one token names of every layer", () => {
    fc.assert(
      fc.property(requests, (asked) => {
        const sparse = { ...asked, namedShareByLayer: [0.3, 0.05, 0.05, 0.1], kvPrecision: "f16" as const };
        const { cycleBudgetBytes } = planMemory(sparse);
        const { slotsByLayer } = planMemory({ ...sparse, budgetBytes: cycleBudgetBytes! });
        for (const [l, slots] of slotsByLayer.entries()) {
          expect(slots).toBeGreaterThanOrEqual(Math.floor(sparse.namedShareByLayer[l]! * 256));
        }
        expect(planMemory({ ...asked, namedShareByLayer: null }).cycleBudgetBytes).toBeNull();
      }),
    );
  });
  it("keeps everything resident without a budget", () => {
    const plan = planMemory(request({}));
    expect(plan.slotsByLayer).toEqual([256, 256, 256, 256]);
    expect(plan.rowTablesResident).toBe(true);
    expect(plan.kvPrecision).toBe("f32");
    expect(plan.batchTokens).toBe(128);
  });
  it("lowers the precision of keys and values only when the better one does not fit", () => {
    const smallest = planMemory(request({ kvPrecision: "f16" })).smallestBudgetBytes;
    expect(planMemory(request({ budgetBytes: smallest })).kvPrecision).toBe("f16");
    expect(planMemory(request({ budgetBytes: smallest - 1 })).kvPrecision).toBe("int8");
  });
  it("gives a layer that names more neurons more slots", () => {
    const { smallestBudgetBytes } = planMemory(request({}));
    const { slotsByLayer } = planMemory(request({ budgetBytes: smallestBudgetBytes + 80_000 }));
    expect(slotsByLayer[0]).toBeGreaterThan(slotsByLayer[3]!);
    expect(slotsByLayer[3]).toBeGreaterThan(slotsByLayer[1]!);
  });
  it("holds whole layers when every neuron is named", () => {
    const asked = request({ namedShareByLayer: null, kvPrecision: "int8" });
    const { smallestBudgetBytes } = planMemory(asked);
    const { slotsByLayer } = planMemory({ ...asked, budgetBytes: smallestBudgetBytes + 2 * 256 * 520 });
    expect(slotsByLayer.filter((slots) => slots === 256).length).toBeGreaterThanOrEqual(1);
  });
});
