/** Mixtures of experts in llama.cpp's files: how tokens choose, where experts lie, and what hostile files lead to. */
import { readFile } from "node:fs/promises";
import { isFlashwickError, memorySource } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planExpertSlot } from "../expert-slot.js";
import type { GgufTensor } from "../gguf.js";
import { expertBytes } from "../model-file.js";
import { openModelFile } from "../read-model.js";
import { summariseModelFile } from "../summary.js";
import {
  changed,
  f32,
  failureOf,
  ggufFile,
  type Metadata,
  openHeader,
  renamed,
  text,
  u32,
} from "./gguf-file.fixture.js";
import {
  CHOSEN,
  COUNT,
  D_FF,
  D_MODEL,
  MIXTURES,
  type MixtureName,
  mixtureFile,
  mixtureMetadata,
  mixtureTensors,
  N_LAYERS,
  SHARED_D_FF,
} from "./mixture-file.fixture.js";

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

const geometryOf = async (name: MixtureName, changes: Metadata = {}) =>
  (await openHeader(mixtureFile(name, changes))).geometry;

describe("gpt-oss", () => {
  it("chooses by biased logits, and weighs by the softmax of the chosen", async () => {
    const { architecture, layers } = await geometryOf("gpt-oss");
    expect(architecture).toBe("gpt-oss");
    const router = { softmax: "chosen", normalised: false, bias: true };
    expect(layers[0]!.experts).toEqual({ count: COUNT, chosen: CHOSEN, router, shared: null });
    expect(layers[0]!.ffn).toMatchObject({ dFf: D_FF, gated: true, activation: "swiglu-clamped" });
    expect(layers[0]!.ffn.biases).toEqual({ gate: true, up: true, down: true });
  });
  it("has sinks and biases everywhere, a window in every other layer, and YaRN with a range that is not widened", async () => {
    const { layers } = await geometryOf("gpt-oss");
    expect(layers.map(({ attention }) => attention.windowTokens)).toEqual([16, null]);
    const scaling = {
      ...{ kind: "yarn", factor: 32, originalContext: 4096, betaFast: 32, betaSlow: 1, truncate: false },
      attentionFactor: 0.1 * Math.log(32) + 1,
    };
    for (const { attention } of layers) {
      expect(attention.sinks).toBe(true);
      expect(attention.biases).toEqual({ query: true, key: true, value: true, output: true });
      expect(attention.rotary).toEqual({ theta: 150000, dims: 32, pairs: "halves", scaling });
    }
  });
  it("keeps sinks, routers and all experts' biases resident, and norms the FFN's input by what llama.cpp calls post_attention_norm", async () => {
    const file = mixtureFile("gpt-oss");
    const header = await openHeader(file);
    const shape = (name: string) => {
      const { dtype, rows, cols, sizeBytes } = header.tensors.get(`blk.1.${name}`)!;
      return [dtype, rows, cols, sizeBytes];
    };
    expect(shape("attn_sinks.weight")).toEqual(["f32", 1, 4, 16]);
    expect(shape("ffn_gate_inp.weight")).toEqual(["f32", COUNT, D_MODEL, 4 * COUNT * D_MODEL]);
    expect(shape("ffn_gate_inp.bias")).toEqual(["f32", 1, COUNT, 4 * COUNT]);
    expect(shape("ffn_up_exps.bias")).toEqual(["f32", COUNT, D_FF, 4 * COUNT * D_FF]);
    expect(shape("ffn_down_exps.bias")).toEqual(["f32", COUNT, D_MODEL, 4 * COUNT * D_MODEL]);
    const norm = mixtureTensors("gpt-oss").findIndex(({ name }) => name === "blk.0.post_attention_norm.weight");
    const before = mixtureTensors("gpt-oss")[norm - 1]!.name;
    const sinks = header.tensors.get(before)!;
    expect(header.tensors.get("blk.0.ffn_norm.weight")!.offset).toBe(sinks.offset + 32);
  });
  it("has experts of MXFP4, one behind the other in three tensors", async () => {
    const { experts, weights } = await openHeader(mixtureFile("gpt-oss"));
    const sizeBytes = (D_FF * D_MODEL * 17) / 32;
    for (const { dtype, sizeBytes: found, strideBytes } of experts[1]!.matrices) {
      expect([dtype, found, strideBytes]).toEqual(["mxfp4", sizeBytes, sizeBytes]);
    }
    expect(weights).toEqual({ layout: "experts", dtype: "mxfp4", slotBytes: planExpertSlot(experts[0]!).sizeBytes });
  });
});

describe("qwen2moe", () => {
  it("has a shared expert behind a sigmoid, resident, and biases of queries, keys and values", async () => {
    const { geometry, tensors } = await openHeader(mixtureFile("qwen2moe"));
    const { attention, experts, ffn } = geometry.layers[1]!;
    expect(experts!.shared).toEqual({ dFf: SHARED_D_FF, gated: true });
    expect(experts!.router).toEqual({ softmax: "all", normalised: false, bias: false });
    expect([ffn.dFf, attention.biases]).toEqual([D_FF, { query: true, key: true, value: true, output: false }]);
    expect(tensors.get("blk.1.ffn_gate_inp_shexp.weight")).toMatchObject({ dtype: "f32", rows: 1, cols: D_MODEL });
    expect(tensors.get("blk.1.ffn_down_shexp.weight")).toMatchObject({ rows: D_MODEL, cols: SHARED_D_FF });
  });
  it("without widths of its experts' own divides the FFN's among the chosen, and gives the shared one all of it", async () => {
    const changes = {
      ...{ expert_feed_forward_length: null, expert_shared_feed_forward_length: null },
      feed_forward_length: u32(SHARED_D_FF),
      expert_used_count: u32(3),
    };
    const { ffn, experts } = (await geometryOf("qwen2moe", changes)).layers[0]!;
    expect([ffn.dFf, experts!.shared!.dFf]).toEqual([32, 96]);
  });
});

it("keys that say what the architecture does anyway change nothing", async () => {
  const plain = await geometryOf("olmoe");
  const said = {
    ...{ expert_gating_func: u32(1), expert_weights_scale: f32(1), expert_group_count: u32(1) },
    ...{ expert_weights_norm: { type: "bool", value: false } as const, leading_dense_block_count: u32(0) },
  };
  expect(await geometryOf("olmoe", said)).toEqual(plain);
  expect(await geometryOf("gpt-oss", { expert_gating_func: u32(3) })).toEqual(await geometryOf("gpt-oss"));
});

it("llama without experts is a Llama, and with them a Mixtral", async () => {
  expect((await geometryOf("llama")).architecture).toBe("mixtral");
  const failure = await failureOf(openHeader(mixtureFile("llama", { expert_count: u32(0) })));
  expect(failure.message).toContain("blk.0.ffn_gate.weight");
});

describe("experts that tokens choose in another way", () => {
  const cases: [string, MixtureName, Metadata, string][] = [
    ["in groups", "qwen3moe", { expert_group_count: u32(4) }, "experts in 4 groups"],
    ["by sigmoid", "qwen3moe", { expert_gating_func: u32(2) }, "weighted by sigmoid"],
    ["by the softmax of the chosen, in OLMoE", "olmoe", { expert_gating_func: u32(3) }, "softmax of the chosen"],
    ["by a function that is not known", "llama", { expert_gating_func: u32(77) }, "weighted by function 77"],
    ["with scaled weights", "qwen2moe", { expert_weights_scale: f32(2.5) }, "weights times 2.5"],
    [
      "with weights divided by their sum, in OLMoE",
      "olmoe",
      { expert_weights_norm: { type: "bool", value: true } },
      "weights divided by their sum",
    ],
    ["after dense layers", "qwen3moe", { leading_dense_block_count: u32(1) }, "1 layers without experts"],
  ];
  it.each(cases)("%s are refused by name, with what runs", async (_, name, changes, part) => {
    const failure = await failureOf(openHeader(mixtureFile(name, changes)));
    expect([failure.code, failure.message]).toEqual(["UNSUPPORTED_FEATURE", expect.stringContaining(part)]);
    expect(failure.message).toContain("mixtures run as Mixtral (llama), olmoe, qwen2moe, qwen3moe and gpt-oss");
  });
  it("of deepseek2 are refused with the architectures that run", async () => {
    const metadata = mixtureMetadata("qwen3moe").set("general.architecture", text("deepseek2"));
    const failure = await failureOf(openHeader(ggufFile(metadata, mixtureTensors("qwen3moe"))));
    expect(failure.code).toBe("UNSUPPORTED_ARCHITECTURE");
    expect(failure.message).toMatch(/"deepseek2", expected one of .*olmoe, qwen2moe, qwen3moe, gpt-oss;/);
  });
  it("in an architecture that has none are refused", async () => {
    const metadata = mixtureMetadata("qwen3moe").set("general.architecture", text("qwen3"));
    for (const [key, value] of [...metadata]) metadata.set(key.replace("qwen3moe.", "qwen3."), value);
    const failure = await failureOf(openHeader(ggufFile(metadata, mixtureTensors("qwen3moe"))));
    expect(failure).toMatchObject({
      code: "UNSUPPORTED_FEATURE",
      message: expect.stringContaining("6 experts in architecture qwen3"),
    });
  });
});

describe("a mixture that cannot be run", () => {
  const up = "blk.1.ffn_up_exps.weight";
  const dropped = (tensor: string) => (tensors: GgufTensor[]) => tensors.filter(({ name }) => name !== tensor);
  const cases: [string, Uint8Array, code: string, part: string][] = [
    ["without an expert tensor", mixtureFile("olmoe", {}, dropped(up)), "FORMAT_MISSING", up],
    [
      "without a router",
      mixtureFile("llama", {}, dropped("blk.1.ffn_gate_inp.weight")),
      "FORMAT_MISSING",
      "ffn_gate_inp",
    ],
    [
      "whose router knows fewer experts",
      mixtureFile("qwen3moe", {}, changed("blk.0.ffn_gate_inp.weight", { shape: [D_MODEL, COUNT - 1] })),
      "FORMAT_INVALID",
      'tensor "blk.0.ffn_gate_inp.weight": expected shape [64, 6], found [64, 5]',
    ],
    [
      "that chooses more than there are",
      mixtureFile("olmoe", { expert_used_count: u32(COUNT + 1) }),
      "FORMAT_INVALID",
      'olmoe.expert_used_count": expected at most expert_count, 6, found 7',
    ],
    ["that chooses none", mixtureFile("llama", { expert_used_count: u32(0) }), "FORMAT_INVALID", "expert_used_count"],
    ["of no experts", mixtureFile("qwen3moe", { expert_count: u32(0) }), "FORMAT_INVALID", "expert_count"],
    ["that does not say of how many", mixtureFile("olmoe", { expert_count: null }), "FORMAT_MISSING", "expert_count"],
    ["of absurdly many", mixtureFile("llama", { expert_count: u32(2 ** 31) }), "FORMAT_INVALID", "from 0 to 4096"],
    [
      "that does not say how many are chosen",
      mixtureFile("llama", { expert_used_count: null }),
      "FORMAT_MISSING",
      "expert_used_count",
    ],
    [
      "whose width is no share of the FFN's",
      mixtureFile("qwen3moe", { expert_feed_forward_length: null, feed_forward_length: u32(97) }),
      "FORMAT_INVALID",
      "a multiple of expert_used_count, 2, found 97",
    ],
    [
      "with tensors of fewer experts",
      mixtureFile("gpt-oss", {}, changed(up, { shape: [D_MODEL, D_FF, COUNT - 1] })),
      "FORMAT_INVALID",
      "expected shape [64, 32, 6], found [64, 32, 5]",
    ],
    [
      "with experts in two dimensions",
      mixtureFile("gpt-oss", {}, changed(up, { shape: [D_MODEL, D_FF * COUNT] })),
      "FORMAT_INVALID",
      "found [64, 192]",
    ],
    [
      "with experts of a type without kernels",
      mixtureFile("olmoe", {}, changed(up, { type: 16 })),
      "UNSUPPORTED_FEATURE",
      "is of type 16, expected F32",
    ],
    [
      "with rows that are no whole blocks",
      mixtureFile("llama", {}, changed(up, { type: "Q4_K" })),
      "FORMAT_INVALID",
      "rows of whole Q4_K blocks",
    ],
    [
      "with experts past the end",
      mixtureFile("qwen2moe", {}, changed(up, { offset: 2 ** 40 })),
      "FORMAT_TRUNCATED",
      up,
    ],
    [
      "with biases of experts that are not F32",
      mixtureFile("gpt-oss", {}, changed("blk.0.ffn_up_exps.bias", { type: "F16" })),
      "UNSUPPORTED_FEATURE",
      "is of type F16, expected F32",
    ],
    ["without sinks", mixtureFile("gpt-oss", {}, dropped("blk.0.attn_sinks.weight")), "FORMAT_MISSING", "attn_sinks"],
    [
      "without biases of its experts",
      mixtureFile("gpt-oss", {}, dropped("blk.0.ffn_down_exps.bias")),
      "FORMAT_MISSING",
      "ffn_down_exps.bias",
    ],
    [
      "without the gate of its shared expert",
      mixtureFile("qwen2moe", {}, dropped("blk.0.ffn_gate_inp_shexp.weight")),
      "FORMAT_MISSING",
      "ffn_gate_inp_shexp",
    ],
    [
      "with a tensor an expert, as files of old have them",
      mixtureFile("llama", {}, renamed("blk.0.ffn_gate_exps.weight", "blk.0.ffn_gate.0.weight")),
      "UNSUPPORTED_FEATURE",
      "fetch a conversion made after April 2024",
    ],
  ];
  it.each(cases)("%s is refused by name", async (_, bytes, code, part) => {
    const failure = await failureOf(openHeader(bytes));
    expect([failure.code, failure.message]).toEqual([code, expect.stringContaining(part)]);
  });
  it("whose last expert is cut off is refused", async () => {
    const declared = mixtureTensors("qwen3moe");
    expect(declared.at(-1)!.name).toBe("blk.1.ffn_down_exps.weight");
    const bytes = mixtureFile("qwen3moe");
    const failure = await failureOf(openHeader(bytes.slice(0, -1)));
    expect([failure.code, failure.message]).toEqual(["FORMAT_TRUNCATED", expect.stringContaining("ffn_down_exps")]);
  });
});

describe.each(MIXTURES)("a file of %s", (name) => {
  const bytes = mixtureFile(name);
  it("with any bit flipped gives a model with experts inside the file, or a typed error", async () => {
    const { dataOffset } = await openHeader(bytes);
    await fc.assert(
      fc.asyncProperty(fc.nat(dataOffset - 1), fc.nat(7), async (at, bit) => {
        const copy = bytes.slice();
        copy[at]! ^= 1 << bit;
        const opened = await openHeader(copy).catch((error: unknown) => error as Error);
        if (opened instanceof Error) expect(isFlashwickError(opened)).toBe(true);
        else for (const end of expertEnds(opened.experts)) expect(end).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 200 },
    );
  });
  it("cut off anywhere is a typed error", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 64), async (length) => {
        expect((await failureOf(openHeader(bytes.slice(0, length)))).code).toMatch(/^FORMAT_/);
      }),
      { numRuns: 50 },
    );
  });
  it("of any numbers of experts opens where they fit its tensors, and else is a typed error", async () => {
    const number = fc.integer({ min: 0, max: 9 });
    await fc.assert(
      fc.asyncProperty(number, number, fc.integer({ min: -1, max: 1 }), async (count, chosen, excess) => {
        const declared = mixtureTensors(name).map((tensor) => {
          if (!/ffn_\w+_exps|ffn_gate_inp\./.test(tensor.name)) return tensor;
          const isWeight = tensor.name.includes("_exps.weight");
          return { ...tensor, shape: [...tensor.shape.slice(0, -1), count + (isWeight ? excess : 0)] };
        });
        if (declared.some(({ shape }) => shape.some((n) => n < 0))) return;
        const sizes = { expert_count: u32(count), expert_used_count: u32(chosen) };
        const file = ggufFile(mixtureMetadata(name, sizes), declared);
        const isRight = count > 0 && chosen > 0 && chosen <= count && excess === 0;
        if (!isRight) return void (await failureOf(openHeader(file)));
        const { experts, geometry } = await openHeader(file);
        expect(geometry.layers[0]!.experts).toMatchObject({ count, chosen });
        expect(experts).toHaveLength(N_LAYERS);
        for (const end of expertEnds(experts)) expect(end).toBeLessThanOrEqual(file.length);
      }),
      { numRuns: 100 },
    );
  });
});

/** Where the last expert of each tensor ends. */
function expertEnds(experts: Awaited<ReturnType<typeof openHeader>>["experts"]): number[] {
  return experts.flatMap((layer) =>
    layer!.matrices.map(({ offset, strideBytes, sizeBytes }) => offset + (layer!.count - 1) * strideBytes + sizeBytes),
  );
}
