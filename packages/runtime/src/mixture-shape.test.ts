import { memorySource } from "@flashwick/core";
import {
  denseBytes,
  expertFlashBytes,
  ffnFlashBytes,
  localityOf,
  MIN_EXPERT_SLOTS_PER_LAYER,
} from "@flashwick/cost-model";
import {
  expertBytes,
  type ModelHeader,
  openModelFile,
  planExpertSlot,
  type ResidentTensor,
} from "@flashwick/flash-format";
import { poolScratch } from "@flashwick/kernels-wasm";
import { describe, expect, it } from "vitest";
import { ggufBytes, openModelBytes } from "./checkpoint.fixture.js";
import { estimate } from "./estimate.js";
import { mixtureOf } from "./mixture-shape.js";
import { shapeOf } from "./model-shape.js";
import { profile as device } from "./profile.fixture.js";

const FILES = ["mixtral", "olmoe", "qwen3moe"];

async function headerOf(name: string): Promise<ModelHeader> {
  return (await openModelFile(memorySource(ggufBytes(name), name))).header;
}

function tensor(name: string, sizeBytes: number): ResidentTensor {
  const place = { offset: 0, sizeBytes, crc32c: 0, scales: null };
  return { name, dtype: "f16", rows: 1, cols: sizeBytes / 2, ...place } as ResidentTensor;
}

describe.each(FILES)("shapeOf %s.gguf", (name) => {
  it("counts every byte of its experts and of its matrices once", async () => {
    const header = await headerOf(name);
    const shape = shapeOf(header, null);
    expect(ffnFlashBytes(shape)).toBe(expertBytes(header));
    const matrices = [...header.tensors.values()].filter((of) => !of.name.endsWith("norm.weight"));
    const resident = matrices.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect(denseBytes(shape) + shape.rowTableBytes).toBeCloseTo(resident + expertBytes(header), 3);
    expect(shape.attentionTypes.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
  });
  it("has three slices an expert, and each layer's own slots", async () => {
    const header = await headerOf(name);
    for (const [index, { experts, resident }] of mixtureOf(header).layers.entries()) {
      const { matrices, count } = header.experts[index]!;
      expect(experts!.pieceBytes).toEqual(matrices.map(({ sizeBytes }) => sizeBytes));
      expect(experts!.weights.map(({ dtype }) => dtype)).toEqual(matrices.map(({ dtype }) => dtype));
      expect(experts!.slotBytes).toBe(planExpertSlot(header.experts[index]!).sizeBytes);
      expect(experts).toMatchObject({ count, chosen: header.geometry.layers[index]!.experts!.chosen });
      expect(resident).toEqual([]);
    }
  });
  it("plans what the engine allocates, layers' slots in their own sizes, and opens with one expert a layer", async () => {
    const header = await headerOf(name);
    const model = await openModelBytes(ggufBytes(name), name, { contextTokens: 32, kvPrecision: "f32" });
    const { smallestBudgetBytes, cycleBudgetBytes, dram: all } = model.plan(32);
    await model.close();
    const smallest = await openModelBytes(ggufBytes(name), name, {
      ...{ contextTokens: 32, kvPrecision: "f32" },
      dramBudgetBytes: smallestBudgetBytes,
    });
    const { dram, slotsByLayer } = smallest.plan(32);
    expect(slotsByLayer).toEqual(header.experts.map(() => MIN_EXPERT_SLOTS_PER_LAYER));
    const SLOT_BOOKKEEPING_BYTES = 48;
    const others = header.experts.map(
      (of) => (of!.count - 1) * (planExpertSlot(of!).sizeBytes + SLOT_BOOKKEEPING_BYTES),
    );
    expect(all.neuronCache - dram.neuronCache).toBe(others.reduce((sum, bytes) => sum + bytes, 0));
    await smallest.close();
    const holding = await openModelBytes(ggufBytes(name), name, {
      ...{ contextTokens: 32, kvPrecision: "f32" },
      dramBudgetBytes: cycleBudgetBytes!,
    });
    for (const [layer, n] of holding.plan(32).slotsByLayer.entries()) {
      expect(n).toBeGreaterThanOrEqual(header.geometry.layers[layer]!.experts!.chosen);
    }
    await holding.close();
  });
  it("has slots of one size in a pool of all layers", async () => {
    const header = await headerOf(name);
    const open = async (cacheScope: "layer" | "pool") => {
      const model = await openModelBytes(ggufBytes(name), name, { contextTokens: 32, kvPrecision: "f32", cacheScope });
      const { dram } = model.plan(32);
      await model.close();
      return dram.neuronCache;
    };
    const { slotBytes } = header.weights;
    const saved = header.experts.map((of) => of!.count * (slotBytes - planExpertSlot(of!).sizeBytes));
    expect((await open("pool")) - (await open("layer"))).toBe(saved.reduce((sum, bytes) => sum + bytes, 0));
  });
  it("is estimated from its header alone: misses times an expert's bytes, less of them for more memory", async () => {
    const header = await headerOf(name);
    const options = {
      profile: device,
      scratch: poolScratch,
      length: { promptTokens: 8, decodeTokens: 8 },
    };
    const { memory: all } = estimate(header, { ...options, dramBudgetBytes: null });
    const { smallestBudgetBytes } = all;
    const at = (share: number) =>
      estimate(header, {
        ...options,
        dramBudgetBytes: Math.ceil(smallestBudgetBytes + share * (all.dram.total - smallestBudgetBytes)),
      });
    const runs = [0, 0.3, 0.6, 1].map((share) => at(share).cost.token);
    const bytes = runs.map(({ flashBytes }) => flashBytes);
    expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
    const sizes = header.experts.map((_, layer) => expertFlashBytes(mixtureOf(header).layers[layer]!.experts!));
    for (const { flashBytes, neuronsLoaded } of runs) {
      expect(flashBytes).toBeGreaterThanOrEqual(neuronsLoaded * Math.min(...sizes) - 1e-3);
      expect(flashBytes).toBeLessThanOrEqual(neuronsLoaded * Math.max(...sizes) + 1e-3);
    }
    const locality = localityOf(mixtureOf(header));
    expect(() =>
      estimate(header, { ...options, dramBudgetBytes: null, locality: { ...locality, hitShareByLayer: [] } }),
    ).toThrow("field hitShareByLayer");
  });
});

describe("mixtureOf a header made by hand", () => {
  it("has one record an expert with its padding, a shared expert, and a layer without experts", async () => {
    const header = await headerOf("olmoe");
    const [layer] = header.geometry.layers;
    const { experts, ...dense } = layer!;
    const matrices = ["gate", "up", "down"].map((role, i) => ({
      ...{ role, tensor: "blk.0.ffn_exps", dtype: "f16", rows: 10, cols: 50, sizeBytes: 1000 },
      ...{ offset: 4096 + 1000 * i, strideBytes: 4096 },
    })) as unknown as NonNullable<ModelHeader["experts"][number]>["matrices"];
    const made: ModelHeader = {
      ...header,
      geometry: { ...header.geometry, layers: [{ ...layer!, experts: { ...experts!, count: 4, chosen: 2 } }, dense] },
      experts: [{ count: 4, matrices, recordChecks: { crcOffset: 0, crcOfCrcs: 0 } }, null],
      tensors: new Map(
        [
          tensor("blk.0.ffn_gate_inp.weight", 400),
          ...["gate", "up", "down"].map((role) => tensor(`blk.0.ffn_${role}_shexp.weight`, 2000)),
          ...["gate", "up", "down"].map((role) => tensor(`blk.1.ffn_${role}.weight`, 6000)),
        ].map((of) => [of.name, of]),
      ),
    };
    const [first, second] = mixtureOf(made).layers;
    expect(first!.experts).toMatchObject({
      count: 4,
      chosen: 2,
      pieceBytes: [4096],
      router: { dtype: "f16", bytes: 400 },
    });
    expect(first!.experts!.weights).toEqual(new Array(3).fill({ dtype: "f16", bytes: 1000 }));
    expect(first!.resident).toEqual(new Array(3).fill({ dtype: "f16", bytes: 2000 }));
    expect(second).toEqual({ experts: null, resident: new Array(3).fill({ dtype: "f16", bytes: 6000 }) });
  });
  it("shares one object among layers that are alike", async () => {
    const { layers } = mixtureOf(await headerOf("olmoe"));
    expect(layers[1]).toBe(layers[0]);
    const mixed = mixtureOf(await headerOf("mixtral")).layers;
    expect(mixed[1]).not.toEqual(mixed[0]);
  });
});
