/** Mixtures of experts in llama.cpp's files: how tokens choose, where experts lie, and what hostile files lead to. */
import { readFile } from "node:fs/promises";
import { memorySource } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { expertBytes } from "../model-file.js";
import { openModelFile } from "../read-model.js";
import { summariseModelFile } from "../summary.js";

async function fixtureHeader(name: string) {
  const path = new URL(`../../../runtime/fixtures/gguf/${name}.gguf`, import.meta.url);
  return (await openModelFile(memorySource(new Uint8Array(await readFile(path)), `${name}.gguf`))).header;
}

describe("a file that llama.cpp wrote", () => {
  const ALL = { softmax: "all", bias: false } as const;
  it.each([
    ["mixtral", { count: 4, chosen: 2, router: { ...ALL, normalised: true } }, 256],
    ["olmoe", { count: 8, chosen: 3, router: { ...ALL, normalised: false } }, 128],
    ["qwen3moe", { count: 8, chosen: 2, router: { ...ALL, normalised: true } }, 128],
  ] as const)("of %s has experts of their own in every layer", async (architecture, experts, dFf) => {
    const { geometry, weights, experts: places, matrices, records } = await fixtureHeader(architecture);
    expect(geometry.architecture).toBe(architecture);
    for (const layer of geometry.layers) {
      expect(layer.experts).toEqual({ ...experts, shared: null });
      expect(layer.ffn).toMatchObject({ dFf, gated: true, activation: "silu" });
    }
    expect(weights.layout).toBe("experts");
    expect([places.length, matrices, records]).toEqual([geometry.layers.length, [], []]);
    for (const layer of places) {
      expect(layer).toMatchObject({ count: experts.count, recordChecks: null });
      expect(layer!.matrices.map(({ role, rows, cols }) => [role, rows, cols])).toEqual([
        ["gate", dFf, geometry.dModel],
        ["up", dFf, geometry.dModel],
        ["down", geometry.dModel, dFf],
      ]);
    }
  });
  it("norms queries and keys over the whole width in OLMoE, and head by head in Qwen 3", async () => {
    const norms = ["olmoe", "qwen3moe", "mixtral"].map(async (name) => {
      const { geometry, tensors } = await fixtureHeader(name);
      const { queryKeyNorm, rotary } = geometry.layers[0]!.attention;
      return [queryKeyNorm?.over, tensors.get("blk.0.attn_k_norm.weight")?.cols, rotary!.pairs];
    });
    expect(await Promise.all(norms)).toEqual([
      ["width", 256, "halves"],
      ["head", 64, "halves"],
      [undefined, undefined, "neighbours"],
    ]);
  });
  it("keeps all but the experts resident, each in its own type", async () => {
    const header = await fixtureHeader("qwen3moe");
    const router = header.tensors.get("blk.1.ffn_gate_inp.weight");
    expect(router).toMatchObject({ dtype: "f32", rows: 8, cols: header.geometry.dModel });
    expect(header.experts[0]!.matrices.map(({ dtype }) => dtype)).toEqual(["q4_0", "q4_k", "iq4_nl"]);
    const { residentBytes, ffnBytes, headerBytes, paddingBytes, fileBytes } = summariseModelFile(header);
    expect(ffnBytes).toBe(expertBytes(header));
    expect([headerBytes + residentBytes + ffnBytes, paddingBytes]).toEqual([fileBytes, 0]);
  });
  it("has slots for the expert of the layer that has the largest", async () => {
    const { weights, experts } = await fixtureHeader("mixtral");
    expect(experts.map((layer) => layer!.matrices[2]!.dtype)).toEqual(["q6_k", "q5_k"]);
    // 36864, 36864 and 53760 bytes, each with 512 and 64 more and rounded up to 512.
    expect(weights).toEqual({ layout: "experts", dtype: "q4_k", slotBytes: 37888 + 37888 + 54784 });
  });
});
