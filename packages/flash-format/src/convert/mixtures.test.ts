/** Checkpoints of mixtures become files of whole experts: every weight held against the checkpoint's, read and cut by other code. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type DType, memorySource } from "@flashwick/core";
import { expect, it } from "vitest";
import { crc32c } from "../crc32c.js";
import { memorySink } from "../memory-sink.js";
import type { ModelFile } from "../model-file.js";
import { fileSource } from "../node/file-source.js";
import { openModelFile, readExpertChecksums } from "../read-model.js";
import { decodeElements } from "../tiny-model.fixture.js";
import { verifyModelFile } from "../verify.js";
import { createModelWriter } from "../write-model.js";
import type { ConvertOptions } from "./conversion.js";
import { convertCheckpoint } from "./convert-checkpoint.js";
import { openCheckpointFolder } from "./node.js";
import { readTensorFile } from "./tensor-file.js";

const folderOf = (name: string) => fileURLToPath(new URL(`../../../runtime/fixtures/${name}`, import.meta.url));

async function convert(name: string, options: ConvertOptions) {
  const sink = memorySink(name);
  const folder = await openCheckpointFolder(folderOf(name));
  const result = await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), options);
  return { result, bytes: sink.committed!, file: await openModelFile(memorySource(sink.committed!, name)) };
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
