/** Checkpoints of mixtures become files of whole experts: every weight held against the checkpoint's, read and cut by other code. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type DType, memorySource } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { crc32c } from "../crc32c.js";
import { memorySink } from "../memory-sink.js";
import type { ModelFile } from "../model-file.js";
import { fileSource } from "../node/file-source.js";
import { openModelFile, readExpertChecksums } from "../read-model.js";
import { decodeElements } from "../tiny-model.fixture.js";
import { verifyModelFile } from "../verify.js";
import { createModelWriter } from "../write-model.js";
import { countingFolder, type FixtureTensor, json, RecordingWriter, safetensors } from "./checkpoint-fixture.js";
import type { ConvertOptions } from "./conversion.js";
import { convertCheckpoint } from "./convert-checkpoint.js";
import { openCheckpointFolder } from "./node.js";
import { readSafetensors } from "./safetensors.js";
import { readTensorFile } from "./tensor-file.js";

const folderOf = (name: string) => fileURLToPath(new URL(`../../../runtime/fixtures/${name}`, import.meta.url));

async function convert(name: string, options: ConvertOptions) {
  const sink = memorySink(name);
  const folder = await openCheckpointFolder(folderOf(name));
  const result = await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), options);
  return { result, bytes: sink.committed!, file: await openModelFile(memorySource(sink.committed!, name)) };
}

/** Config and tensors of a checkpoint, to change one of them. */
async function readCheckpoint(name: string) {
  const tensors = new Map<string, FixtureTensor>();
  for (const fileName of readdirSync(folderOf(name)).filter((file) => file.endsWith(".safetensors"))) {
    const bytes = new Uint8Array(readFileSync(`${folderOf(name)}/${fileName}`));
    for (const [tensor, { offset, shape, storedDType }] of await readSafetensors(memorySource(bytes, fileName))) {
      const sizeBytes = 2 * shape.reduce((product, size) => product * size, 1);
      tensors.set(tensor, { dtype: storedDType, shape, bytes: bytes.subarray(offset, offset + sizeBytes) });
    }
  }
  const config = JSON.parse(readFileSync(`${folderOf(name)}/config.json`, "utf8")) as Record<string, unknown>;
  return { config, tensors };
}
type Checkpoint = Awaited<ReturnType<typeof readCheckpoint>>;

async function convertChanged({ config, tensors }: Checkpoint, options: ConvertOptions = {}) {
  const { folder } = countingFolder({ "config.json": json(config), "model.safetensors": safetensors(tensors) });
  const sink = memorySink("changed");
  const result = await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), options);
  return { result, bytes: sink.committed!, file: await openModelFile(memorySource(sink.committed!, "changed")) };
}

/** All tensors of a checkpoint as f32. */
async function checkpointTensors(name: string): Promise<Map<string, Float32Array>> {
  const tensors = new Map<string, Float32Array>();
  for (const fileName of readdirSync(folderOf(name)).filter((file) => file.endsWith(".safetensors"))) {
    const source = await fileSource(`${folderOf(name)}/${fileName}`);
    const file = await readTensorFile(source);
    for (const tensor of file.shapes.keys()) tensors.set(tensor, await file.read(tensor));
    await source.close();
  }
  return tensors;
}
type Tensors = Awaited<ReturnType<typeof checkpointTensors>>;

/** Weight [row, col] of a matrix of expert e of a layer, where the checkpoint has it. */
type WeightAt = (tensors: Tensors, layer: number, e: number, role: string, row: number, col: number) => number;

const ofItsOwn =
  (module: string, cols: (role: string) => number): WeightAt =>
  (tensors, layer, e, role, row, col) => {
    const what = module === "mlp" ? `${role}_proj` : { gate: "w1", down: "w2", up: "w3" }[role];
    return tensors.get(`model.layers.${layer}.${module}.experts.${e}.${what}.weight`)![row * cols(role) + col]!;
  };

/** d 64, f 96; [e, col, 2 row] is gate, [e, col, 2 row + 1] up. */
const fused: WeightAt = (tensors, layer, e, role, row, col) => {
  const experts = `model.layers.${layer}.mlp.experts.`;
  if (role === "down") return tensors.get(`${experts}down_proj`)![(e * 96 + col) * 64 + row]!;
  return tensors.get(`${experts}gate_up_proj`)![(e * 64 + col) * 192 + 2 * row + (role === "gate" ? 0 : 1)]!;
};

const widths = (dFf: number) => (role: string) => (role === "down" ? dFf : 64);
const CHECKPOINTS: readonly (readonly [string, number, number, readonly number[], WeightAt])[] = [
  ["mixtral-tiny", 96, 8, [0, 1, 2], ofItsOwn("block_sparse_moe", widths(96))],
  ["olmoe-tiny", 32, 16, [0, 1, 2], ofItsOwn("mlp", widths(32))],
  ["qwen2-moe-tiny", 32, 8, [0, 2], ofItsOwn("mlp", widths(32))],
  ["qwen3-moe-tiny", 32, 16, [0, 1, 2], ofItsOwn("mlp", widths(32))],
  ["gpt-oss-tiny", 96, 8, [0, 1, 2], fused],
];

function expertOf({ header }: ModelFile, bytes: Uint8Array, layer: number, e: number) {
  return header.experts[layer]!.matrices.map(({ role, dtype, rows, cols, offset, strideBytes, sizeBytes }) => {
    const at = offset + e * strideBytes;
    return { role, rows, cols, values: decodeElements(dtype, bytes.subarray(at, at + sizeBytes)) };
  });
}

it.each(CHECKPOINTS)(
  "%s has every weight of every expert in its record",
  async (name, dFf, count, mixtures, weightAt) => {
    const tensors = await checkpointTensors(name);
    const { bytes, file, result } = await convert(name, { dtype: "f32" });
    expect(result).toMatchObject({ dtype: "f32", layout: "experts", residentDtype: "f32" });
    expect(file.header.experts.flatMap((layer, i) => (layer ? [i] : []))).toEqual(mixtures);
    for (const layer of mixtures) {
      for (let e = 0; e < count; e++) {
        const matrices = expertOf(file, bytes, layer, e);
        expect(matrices.map(({ role, rows, cols }) => [role, rows, cols])).toEqual([
          ["gate", dFf, 64],
          ["up", dFf, 64],
          ["down", 64, dFf],
        ]);
        for (const { role, rows, cols, values } of matrices) {
          const expected = Float32Array.from({ length: rows * cols }, (_, i) =>
            weightAt(tensors, layer, e, role, Math.floor(i / cols), i % cols),
          );
          expect(values).toEqual(expected);
        }
      }
    }
  },
);

it.each(CHECKPOINTS)("%s has records that stand apart, and whose checksums hold", async (name) => {
  const { bytes, file } = await convert(name, { dtype: "f16" });
  for (const [layer, experts] of file.header.experts.entries()) {
    if (!experts) continue;
    const checksums = await readExpertChecksums(file, layer);
    const { offset, strideBytes } = experts.matrices[0]!;
    expect([offset % 4096, strideBytes % 4096, checksums.length]).toEqual([0, 0, experts.count]);
    checksums.forEach((crc, e) => {
      expect(crc32c(bytes.subarray(offset + e * strideBytes, offset + (e + 1) * strideBytes))).toBe(crc);
    });
  }
  expect(await verifyModelFile(file)).toMatchObject({ ok: true, badCount: 0 });
});

/** Largest |x − stored x| of a block type, in units of a block's largest |x|: an eighth and a half of that; 1 / 254. */
const LOSSY: readonly (readonly ["q4" | "q8_0", DType, number])[] = [
  ["q4", "q4_0", 0.2],
  ["q8_0", "q8_0", 1 / 250],
];

it.each(LOSSY)(
  "experts of %s are %s, near the checkpoint's within %d of a block's largest",
  async (dtype, stored, most) => {
    for (const [name] of CHECKPOINTS) {
      const [exact, lossy] = [await convert(name, { dtype: "f32" }), await convert(name, { dtype })];
      expect(lossy.result).toMatchObject({
        dtype: stored,
        residentDtype: "q8_0",
        fingerprint: exact.result.fingerprint,
      });
      expect(Object.keys(lossy.result.loss!).sort()).toEqual(["down", "gate", "resident", "up"]);
      for (const [m, { values }] of expertOf(lossy.file, lossy.bytes, 2, 5).entries()) {
        const weights = expertOf(exact.file, exact.bytes, 2, 5)[m]!.values;
        for (let block = 0; block < values.length; block += 32) {
          const of = (all: Float32Array) => all.subarray(block, block + 32);
          const largest = Math.max(...of(weights).map(Math.abs));
          const farthest = Math.max(...of(weights).map((x, i) => Math.abs(of(values)[i]! - x)));
          expect(farthest).toBeLessThanOrEqual(most * largest);
        }
      }
    }
  },
);

describe("gpt-oss in MXFP4", () => {
  const GRID = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
  const e2m1 = (nibble: number) => (nibble & 8 ? -1 : 1) * GRID[nibble & 7]!;

  /** gpt-oss-tiny with other experts, in blocks; scales of 2^-7 to 2^3. */
  async function quantised(): Promise<Checkpoint> {
    const { config, tensors } = await readCheckpoint("gpt-oss-tiny");
    for (const layer of [0, 1, 2]) {
      for (const [module, rows, cols] of [
        ["gate_up_proj", 192, 64],
        ["down_proj", 64, 96],
      ] as const) {
        const name = `model.layers.${layer}.mlp.experts.${module}`;
        tensors.delete(name);
        const bytes = (count: number, at: (i: number) => number) => Uint8Array.from({ length: count }, (_, i) => at(i));
        const blocks = 8 * rows * (cols / 32);
        const [blockShape, scaleShape] = [
          [8, rows, cols / 32, 16],
          [8, rows, cols / 32],
        ];
        const nibbles = bytes(blocks * 16, (i) => (i * 37 + (i >> 8) * 11 + layer) % 256);
        const scales = bytes(blocks, (i) => 120 + ((i * 5 + layer) % 11));
        tensors.set(`${name}_blocks`, { dtype: "U8", shape: blockShape, bytes: nibbles });
        tensors.set(`${name}_scales`, { dtype: "U8", shape: scaleShape, bytes: scales });
      }
    }
    return { config: { ...config, quantization_config: { quant_method: "mxfp4" } }, tensors };
  }

  /** Weight [row, col] of a matrix of expert e, by transformers' rule: element 2i is the low nibble of byte i. */
  function weightOf({ tensors }: Checkpoint, layer: number, e: number, role: string, row: number, col: number): number {
    const isDown = role === "down";
    const name = `model.layers.${layer}.mlp.experts.${isDown ? "down_proj" : "gate_up_proj"}`;
    const [rows, cols] = isDown ? [64, 96] : [192, 64];
    const stored = isDown ? row : 2 * row + (role === "up" ? 1 : 0);
    const block = ((e * rows + stored) * cols) / 32 + (col >> 5);
    const byte = tensors.get(`${name}_blocks`)!.bytes[block * 16 + ((col & 31) >> 1)]!;
    const scale = 2 ** (tensors.get(`${name}_scales`)!.bytes[block]! - 127);
    return e2m1(col % 2 === 0 ? byte & 15 : byte >> 4) * scale;
  }

  it.each([undefined, "f32"] as const)("has every weight where it belongs, kept or as %s", async (dtype) => {
    const checkpoint = await quantised();
    const { result, bytes, file } = await convertChanged(checkpoint, dtype ? { dtype } : {});
    expect(result).toMatchObject({ dtype: dtype ?? "mxfp4", residentDtype: dtype ?? "bf16", loss: null });
    for (const layer of [0, 2]) {
      for (const e of [0, 5, 7]) {
        for (const { role, rows, cols, values } of expertOf(file, bytes, layer, e)) {
          const expected = Float32Array.from({ length: rows * cols }, (_, i) =>
            weightOf(checkpoint, layer, e, role, Math.floor(i / cols), i % cols),
          );
          expect(values.map((x) => x + 0)).toEqual(expected.map((x) => x + 0));
        }
      }
    }
    expect(await verifyModelFile(file)).toMatchObject({ ok: true });
  });

  it("has one fingerprint for every type that it is converted to", async () => {
    const checkpoint = await quantised();
    const made = [await convertChanged(checkpoint), await convertChanged(checkpoint, { dtype: "q4" })];
    expect(new Set(made.map(({ result }) => result.fingerprint)).size).toBe(1);
    const stored = (name: string) => checkpoint.tensors.get(name)!.bytes;
    const { writer } = await recorded(checkpoint);
    let crc = 0;
    for (let e = 0; e < 8; e++) {
      for (const module of ["gate_up_proj", "down_proj"]) {
        for (const what of ["blocks", "scales"]) {
          const all = stored(`model.layers.1.mlp.experts.${module}_${what}`);
          crc = crc32c(all.subarray((e * all.length) / 8, ((e + 1) * all.length) / 8), crc);
        }
      }
    }
    expect(writer.sourceCrcs.get("blk.1.ffn")).toBe(crc);
  });

  async function recorded({ config, tensors }: Checkpoint) {
    const { folder } = countingFolder({ "config.json": json(config), "model.safetensors": safetensors(tensors) });
    let writer!: RecordingWriter;
    await convertCheckpoint(folder, async (...spec) => (writer = new RecordingWriter(...spec)), { dtype: "f32" });
    return { writer };
  }

  it.each<[string, string, (tensors: Checkpoint["tensors"], name: string) => void]>([
    ["scales are missing", "CHECKPOINT_TENSOR_MISSING", (tensors, name) => void tensors.delete(`${name}_scales`)],
    [
      "blocks are no bytes",
      "UNSUPPORTED_FEATURE",
      (tensors, name) => void tensors.set(`${name}_blocks`, { ...tensors.get(`${name}_blocks`)!, dtype: "I8" }),
    ],
  ])("is refused by name where %s", async (_, code, change) => {
    const checkpoint = await quantised();
    change(checkpoint.tensors, "model.layers.1.mlp.experts.down_proj");
    await expect(convertChanged(checkpoint)).rejects.toMatchObject({
      ...{ code, message: expect.stringContaining("model.layers.1.mlp.experts.down_proj_") },
    });
  });
});

describe("a checkpoint of a mixture that is not whole", () => {
  const EXPERT = "model.layers.1.mlp.experts.7.up_proj.weight";
  const ROUTER = "model.layers.2.mlp.gate.weight";

  it.each<[string, string, string, (checkpoint: Checkpoint) => void]>([
    ["an expert is missing", "CHECKPOINT_TENSOR_MISSING", EXPERT, ({ tensors }) => void tensors.delete(EXPERT)],
    [
      "an expert is of another shape",
      "CHECKPOINT_TENSOR_SHAPE",
      `${EXPERT}: expected shape [32, 64], found [64, 32]`,
      ({ tensors }) => void tensors.set(EXPERT, { ...tensors.get(EXPERT)!, shape: [64, 32] }),
    ],
    [
      "a router is of fewer experts",
      "CHECKPOINT_TENSOR_SHAPE",
      `${ROUTER}: expected shape [16, 64], found [8, 64]`,
      ({ tensors }) => void tensors.set(ROUTER, { dtype: "BF16", shape: [8, 64], bytes: new Uint8Array(8 * 64 * 2) }),
    ],
    [
      "a token uses more experts than there are",
      "CHECKPOINT_CONFIG",
      "field num_experts_per_tok: expected at most 16, which is num_experts, found 17",
      ({ config }) => void (config.num_experts_per_tok = 17),
    ],
    [
      "a weight of an expert is not a number",
      "CHECKPOINT_TENSOR_VALUE",
      `${EXPERT}: expected finite weights, found NaN at [1, 3]`,
      ({ tensors }) => {
        const bytes = tensors.get(EXPERT)!.bytes.slice();
        bytes.set([0xc0, 0x7f], 2 * (64 + 3));
        tensors.set(EXPERT, { ...tensors.get(EXPERT)!, bytes });
      },
    ],
  ])("is refused where %s", async (_, code, message, change) => {
    const checkpoint = await readCheckpoint("olmoe-tiny");
    change(checkpoint);
    await expect(convertChanged(checkpoint)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it("a weight of fused experts that is not a number is named where it is stored", async () => {
    const checkpoint = await readCheckpoint("gpt-oss-tiny");
    const name = "model.layers.0.mlp.experts.gate_up_proj";
    const bytes = checkpoint.tensors.get(name)!.bytes.slice();
    bytes.set([0xc0, 0x7f], 2 * ((2 * 64 + 5) * 192 + 7));
    checkpoint.tensors.set(name, { ...checkpoint.tensors.get(name)!, bytes });
    await expect(convertChanged(checkpoint)).rejects.toMatchObject({
      message: expect.stringContaining(`${name}: expected finite weights, found NaN at [2, 5, 7]`),
    });
  });

  it("experts of int8 are refused, with what to use", async () => {
    await expect(convert("olmoe-tiny", { dtype: "int8" })).rejects.toMatchObject({
      ...{ code: "UNSUPPORTED_FEATURE", message: expect.stringContaining("--dtype q8_0") },
    });
  });
});
