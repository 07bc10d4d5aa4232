/** Files of llama.cpp with checksums beside them: a flipped bit is found wherever the bytes come from, and checking changes no bit of a result. */
import { memorySource } from "@flashwick/core";
import { profileOfUses } from "@flashwick/dram-cache";
import {
  type ModelFile,
  memorySink,
  openModelFile,
  type ResidentTensor,
  withChecksums,
  writeChecksumFile,
} from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { describe, expect, it } from "vitest";
import { ggufBytes } from "./checkpoint.fixture.js";
import { Model } from "./model.js";
import type { ModelOptions } from "./model-options.js";
import { scoreTokens } from "./score.js";

const TOKENS = [5, 9, 200, 17, 31, 8, 77, 120, 4, 3];
const OPTIONS = { contextTokens: 64, kvPrecision: "f32" as const };

async function openChecked(bytes: Uint8Array, checksums: Uint8Array | null, options: ModelOptions): Promise<Model> {
  const plain = await openModelFile(memorySource(bytes, "model.gguf"));
  const file = checksums ? await withChecksums(plain, memorySource(checksums)) : plain;
  const kernels = { kernels: createWasmKernels, backend: "wasm", clock: () => performance.now() };
  return new Model({ file, reader: memoryReader(bytes), predictor: null, ...kernels }, { ...OPTIONS, ...options });
}

async function logitsOf(model: Model): Promise<number[]> {
  const scored = await scoreTokens(model, TOKENS, { top: 8, probe: [1, 2, 3] });
  return scored.flatMap(({ logSumExp, top, probe }) => [logSumExp, ...top.flat(), ...probe.flat()]);
}

async function checksumsOf(bytes: Uint8Array): Promise<{ checksums: Uint8Array; file: ModelFile }> {
  const file = await openModelFile(memorySource(bytes, "model.gguf"));
  const sink = memorySink("model.crc32c.gguf");
  await writeChecksumFile(sink, file);
  return { checksums: sink.committed!, file };
}

function flipped(
  bytes: Uint8Array,
  { offset, sizeBytes }: ResidentTensor,
  where: "begin" | "middle" | "end",
): Uint8Array {
  const copy = bytes.slice();
  // Of a row in the middle: all that a token computes reads it.
  const at = { begin: 0, middle: sizeBytes >> 1, end: sizeBytes - 1 }[where];
  copy[offset + at]! ^= 1;
  return copy;
}

/** With its checksums the file gives the bits that it has without, twice. @param shares Of the way from the smallest budget to all of it. */
async function expectBitsOfPlain(bytes: Uint8Array, shares: readonly number[]): Promise<void> {
  const { checksums } = await checksumsOf(bytes);
  const plain = await openChecked(bytes, null, {});
  const expected = await logitsOf(plain);
  await plain.close();
  const sizes = await openChecked(bytes, checksums, {});
  const { smallestBudgetBytes, dram } = sizes.plan(64);
  await sizes.close();
  for (const share of shares) {
    const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
    const model = await openChecked(bytes, checksums, { dramBudgetBytes });
    expect(await logitsOf(model), `${share}`).toEqual(expected);
    expect(await logitsOf(model), "again").toEqual(expected);
    await model.close();
  }
}

describe.each(["falcon-7b", "qwen3", "phi2-fused"])("%s.gguf with checksums", (name) => {
  const bytes = ggufBytes(name);

  it("gives the bits of the file without, at every budget", async () => {
    await expectBitsOfPlain(bytes, [0, 0.3, 0.7, 1]);
  });

  it("finds a flipped bit of a resident tensor as it is loaded", async () => {
    const { checksums, file } = await checksumsOf(bytes);
    const { output, down } = file.header.matrices[0]!;
    const tensors = [file.header.tensors.get("token_embd.weight")!, file.header.tensors.get("blk.1.attn_norm.weight")!];
    for (const tensor of [...tensors, output, down]) {
      const model = await openChecked(flipped(bytes, tensor, "middle"), checksums, {});
      await expect(logitsOf(model)).rejects.toMatchObject({
        code: "INTEGRITY_TENSOR",
        message: expect.stringContaining(tensor.name),
      });
      await model.close();
    }
  });

  it.each(["begin", "middle", "end"] as const)(
    "finds one at the %s of a streamed matrix before a token is made",
    async (where) => {
      const { checksums, file } = await checksumsOf(bytes);
      const { dram, smallestBudgetBytes: dramBudgetBytes } = (await openChecked(bytes, checksums, {})).plan(64);
      expect(dramBudgetBytes).toBeLessThan(dram.total);
      for (const tensor of Object.values(file.header.matrices[1]!)) {
        const model = await openChecked(flipped(bytes, tensor, where), checksums, { dramBudgetBytes });
        // It is what passes through the stage that is damaged: what was loaded is whole.
        await expect(logitsOf(model)).rejects.toMatchObject({
          code: "INTEGRITY_TENSOR",
          message: expect.stringContaining(tensor.name),
        });
        await model.close();
      }
    },
  );

  it("counts them in the plan", async () => {
    const { checksums, file } = await checksumsOf(bytes);
    const checked = await openChecked(bytes, checksums, {});
    const plain = await openChecked(bytes, null, {});
    const perGroup = [...file.header.tensors.values(), ...file.header.matrices.flatMap((of) => Object.values(of))];
    const groups = perGroup.reduce((sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / 8192), 0);
    expect(checked.plan(64).dram.total - plain.plan(64).dram.total).toBe(4 * groups);
    for (const model of [checked, plain]) await model.close();
  });
});

describe.each(["mixtral", "olmoe", "qwen3moe"])("%s.gguf with checksums", (name) => {
  const bytes = ggufBytes(name);

  it("gives the bits of the file without, at every budget", async () => {
    await expectBitsOfPlain(bytes, [0, 0.5, 1]);
  });

  it("finds a flipped bit in any matrix of an expert before a token is made", async () => {
    const { checksums, file } = await checksumsOf(bytes);
    const { count, matrices } = file.header.experts[1]!;
    for (const { offset, strideBytes, sizeBytes } of matrices) {
      const copy = bytes.slice();
      // In all of them: which ones the tokens choose is not known here.
      for (let expert = 0; expert < count; expert++) copy[offset + expert * strideBytes + sizeBytes - 1]! ^= 1;
      const model = await openChecked(copy, checksums, {});
      const failure = await logitsOf(model).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "INTEGRITY_EXPERT", details: { layer: 1 } });
      const { expert, offset: found } = (failure as { details: { expert: number; offset: number } }).details;
      expect(found).toBe(offset + expert * strideBytes);
      await model.close();
    }
  });

  it("finds one in an expert that is read because a workload used it most, when the model is loaded", async () => {
    const { checksums, file } = await checksumsOf(bytes);
    const { offset, strideBytes } = file.header.experts[1]!.matrices[0]!;
    const hot = 2;
    const copy = bytes.slice();
    copy[offset + hot * strideBytes]! ^= 1;
    const uses = file.header.experts.map((layer) =>
      Array.from({ length: layer!.count }, (_, expert) => Number(expert === hot)),
    );
    const hotExperts = profileOfUses(file.header.fingerprint, uses);
    const model = await openChecked(copy, checksums, { hotExperts });
    await expect(model.withSequence(8, async () => {})).rejects.toMatchObject({
      code: "INTEGRITY_EXPERT",
      details: { layer: 1, expert: hot },
    });
    await model.close();
  });

  it("finds one in what is resident, the router among it", async () => {
    const { checksums, file } = await checksumsOf(bytes);
    for (const tensor of ["blk.1.ffn_gate_inp.weight", "blk.0.attn_k.weight"]) {
      const damaged = flipped(bytes, file.header.tensors.get(tensor)!, "middle");
      const model = await openChecked(damaged, checksums, {});
      await expect(logitsOf(model)).rejects.toMatchObject({
        code: "INTEGRITY_TENSOR",
        message: expect.stringContaining(tensor),
      });
      await model.close();
    }
  });
});

it("a damaged table that stays on flash is found before its rows are read", async () => {
  const bytes = ggufBytes("phi2-fused");
  const { checksums, file } = await checksumsOf(bytes);
  const { smallestBudgetBytes: dramBudgetBytes } = (await openChecked(bytes, checksums, {})).plan(64);
  const table = file.header.tensors.get("token_embd.weight")!;
  const model = await openChecked(flipped(bytes, table, "end"), checksums, { dramBudgetBytes });
  expect(model.plan(64).rowTablesResident).toBe(false);
  await expect(logitsOf(model)).rejects.toMatchObject({ code: "INTEGRITY_TENSOR" });
  await model.close();
});

it("without checksums, a flipped bit is believed", async () => {
  const bytes = ggufBytes("qwen3");
  const { file } = await checksumsOf(bytes);
  const model = await openChecked(flipped(bytes, file.header.matrices[1]!.up, "middle"), null, {});
  await expect(logitsOf(model)).resolves.toBeDefined();
  await model.close();
});
