/** Orders of neurons on flash: taken where reads get fewer, left alone where they do not. */
import { Random } from "@flashwick/core";
import { devicePreset } from "@flashwick/cost-model";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import { describe, expect, it } from "vitest";
import { choosePlacement, PLACEMENT_ORDERS } from "./choose-placement.js";

const D_FF = 256;
const OPTIONS = { slots: 24, strideBytes: 16384, device: { profile: devicePreset("nvme-pcie4"), readers: 16 } };

/** Each token names some groups of neurons; a group's members stand `stride` apart. */
function groupedTrace(tokens: number, stride: number): NeuronTrace {
  const random = new Random(3);
  const groups = D_FF / 8;
  const sets = Array.from({ length: tokens }, () => {
    const chosen = new Set(Array.from({ length: 3 }, () => random.below(groups)));
    const neurons = [...chosen].flatMap((g) => Array.from({ length: 8 }, (_, i) => (g + i * stride) % D_FF));
    return [Uint32Array.from(neurons).sort()];
  });
  return { nLayers: 1, dFf: D_FF, tokens: sets };
}

function scatteredTrace(tokens: number): NeuronTrace {
  const random = new Random(5);
  const sets = Array.from({ length: tokens }, () => {
    const chosen = new Set<number>();
    while (chosen.size < 20) chosen.add(random.below(D_FF));
    return [Uint32Array.from(chosen).sort()];
  });
  return { nLayers: 1, dFf: D_FF, tokens: sets };
}

describe("choosePlacement", () => {
  it("brings together what is named together, and says what each order would take", () => {
    const { order, placement, candidates } = choosePlacement(groupedTrace(400, D_FF / 8), OPTIONS);
    expect(["co-activation", "co-miss"]).toContain(order);
    expect([...placement![0]!].sort((a, b) => a - b)).toEqual(Array.from({ length: D_FF }, (_, i) => i));
    expect(candidates.map((candidate) => candidate.order)).toEqual([...PLACEMENT_ORDERS]);
    const readsOf = (name: string) => candidates.find((c) => c.order === name)!.heldOut.perToken.flashReads;
    expect(readsOf(order)).toBeLessThan(0.4 * readsOf("identity"));
  });
  it("leaves alone what has no order to find", () => {
    expect(choosePlacement(scatteredTrace(400), OPTIONS)).toMatchObject({ order: "identity", placement: null });
  });
  it("moves no miss where the cache sees the same sets: orders change reads alone", () => {
    const { candidates } = choosePlacement(groupedTrace(200, D_FF / 8), { ...OPTIONS, slots: D_FF });
    expect(new Set(candidates.map(({ heldOut }) => heldOut.perToken.misses)).size).toBe(1);
  });
  it("refuses a trace too short to learn from", () => {
    expect(() => choosePlacement(groupedTrace(63, 8), OPTIONS)).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  });
});
