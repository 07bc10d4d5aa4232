/** Checksums beside a file of llama.cpp's: whole, damaged, of another model, and what they find. */
import { type ByteSource, IoError, memorySource } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checksumPath,
  readChecksumHeader,
  readTensors,
  withChecksums,
  withChecksumsBeside,
  writeChecksumFile,
} from "./checksum-file.js";
import { encodeContainerHeader, planContainer } from "./container.js";
import { crc32c } from "./crc32c.js";
import type { GgufValue } from "./gguf.js";
import {
  type DeclaredTensor,
  f32,
  failureOf,
  ggufFile,
  metadataWith,
  text,
  u32,
} from "./llama-cpp/gguf-file.fixture.js";
import { mixtureFile } from "./llama-cpp/mixture-file.fixture.js";
import { memorySink } from "./memory-sink.js";
import { carriesChecksums, expertBytes, expertCrc, type ModelFile } from "./model-file.js";
import { openModelFile, readResidentTensor } from "./read-model.js";
import { crcOfBytes, TensorChecks } from "./tensor-checks.js";
import { openTinyModel } from "./tiny-model.fixture.js";
import { verifyChecksumFile, verifyModelFile } from "./verify.js";

const D_MODEL = 64;
const matrix = (name: string, ...shape: number[]): DeclaredTensor => ({ name: `${name}.weight`, type: "F16", shape });
const norm = (name: string): DeclaredTensor => ({ name: `${name}.weight`, type: "F32", shape: [D_MODEL] });
const TENSORS = [
  matrix("token_embd", D_MODEL, 300),
  norm("output_norm"),
  norm("blk.0.attn_norm"),
  norm("blk.0.ffn_norm"),
  matrix("blk.0.attn_qkv", D_MODEL, 3 * D_MODEL),
  matrix("blk.0.attn_output", D_MODEL, D_MODEL),
  matrix("blk.0.ffn_gate", D_MODEL, 200),
  matrix("blk.0.ffn_up", D_MODEL, 200),
  matrix("blk.0.ffn_down", 200, D_MODEL),
  { name: "rope_freqs.weight", type: "F32" as const, shape: [16] },
];

function modelBytes(name = "a model"): Uint8Array {
  const metadata = metadataWith({
    "general.architecture": text("llama"),
    "general.name": text(name),
    "llama.block_count": u32(1),
    "llama.context_length": u32(128),
    "llama.embedding_length": u32(D_MODEL),
    "llama.feed_forward_length": u32(200),
    "llama.attention.head_count": u32(2),
    "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
  });
  const bytes = ggufFile(metadata, TENSORS);
  const rotary = new Float32Array(16).fill(1);
  bytes.set(new Uint8Array(rotary.buffer), bytes.length - 64);
  for (let i = bytes.length - 65; i > bytes.length - 60_000; i--) bytes[i] = (i * 2654435761) >>> 24;
  return bytes;
}

const BYTES = modelBytes();
const openBytes = (bytes: Uint8Array) => openModelFile(memorySource(bytes, "model.gguf"));

async function checksumsOf(bytes: Uint8Array): Promise<Uint8Array> {
  const sink = memorySink("model.crc32c.gguf");
  await writeChecksumFile(sink, await openBytes(bytes));
  return sink.committed!;
}
const CHECKSUMS = await checksumsOf(BYTES);
const withThese = (file: ModelFile, checksums = CHECKSUMS) =>
  withChecksums(file, memorySource(checksums, "model.crc32c.gguf"));

describe("a file of checksums", () => {
  it("has one for each 8 KiB of every tensor that is read, and the model's fingerprint", async () => {
    const { header } = await withThese(await openBytes(BYTES));
    const { groupBytes, byTensor } = header.checksums!;
    expect(groupBytes).toBe(8192);
    expect([...byTensor.keys()]).toEqual(readTensors(header).map(({ name }) => name));
    const query = header.matrices[0]!.query;
    const of = (at: number) =>
      crc32c(BYTES.subarray(query.offset + at, query.offset + Math.min(at + 8192, query.sizeBytes)));
    expect([...byTensor.get("blk.0.attn_q.weight")!]).toEqual([of(0)]);
    expect(byTensor.get("token_embd.weight")).toHaveLength(Math.ceil((300 * 128) / 8192));
    const facts = await readChecksumHeader(memorySource(CHECKSUMS));
    expect(facts).toMatchObject({ modelFingerprint: header.fingerprint, modelBytes: BYTES.length });
  });
  it("is less than a thousandth of a model of 16 MiB and more", () => {
    // A page for the header, and four bytes a group rounded up to a page.
    const sidecarBytes = (modelBytes: number) => 4096 + Math.ceil((4 * Math.ceil(modelBytes / 8192)) / 4096) * 4096;
    expect(CHECKSUMS.length).toBe(sidecarBytes(BYTES.length));
    for (const mebibytes of [16, 90, 4000, 40_000]) {
      expect(sidecarBytes(mebibytes * 2 ** 20)).toBeLessThan((mebibytes * 2 ** 20) / 1000);
    }
  });
  it("is looked for beside the model, and found only there", async () => {
    expect(checksumPath("dir/model-00001-of-00003.gguf")).toBe("dir/model-00001-of-00003.crc32c.gguf");
    const asked: string[] = [];
    const folder = (content: Uint8Array | null): ByteSource => ({
      ...memorySource(BYTES, "dir/model.gguf"),
      async openSibling(name) {
        asked.push(name);
        if (content === null) throw new IoError("IO_NOT_FOUND", name);
        return memorySource(content, name);
      },
    });
    const alone = await openModelFile(folder(null));
    expect(await withChecksumsBeside(alone)).toBe(alone);
    const beside = await withChecksumsBeside(await openModelFile(folder(CHECKSUMS)));
    expect(beside.header.checksums!.byTensor.size).toBeGreaterThan(0);
    expect(asked).toEqual(["model.crc32c.gguf", "model.crc32c.gguf"]);
    const inMemory = await openBytes(BYTES);
    expect(await withChecksumsBeside(inMemory)).toBe(inMemory);
  });
  it("is not made of a file that carries its own", async () => {
    const { file } = await openTinyModel();
    expect(await failureOf(writeChecksumFile(memorySink("x"), file))).toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    expect(await withChecksumsBeside(file)).toBe(file);
  });
  it("is no model, and a model is none", async () => {
    expect((await failureOf(openBytes(CHECKSUMS))).message).toContain("give the model that lies beside it");
    expect((await failureOf(withThese(await openBytes(BYTES), BYTES))).code).toBe("FORMAT_NOT_FLASHWICK");
  });
});

function isRefused(opening: Promise<unknown>): Promise<boolean> {
  return opening.then(
    () => false,
    () => true,
  );
}

describe("checksums that do not fit", () => {
  const refusal = async (bytes: Uint8Array, checksums = CHECKSUMS) =>
    await failureOf(withThese(await openBytes(bytes), checksums));

  it("since they are of another model, say what to do", async () => {
    const failure = await refusal(modelBytes("another model"));
    expect(failure.code).toBe("INTEGRITY_FINGERPRINT");
    expect(failure.message).toContain('"flashwick verify model.gguf --write --force"');
  });
  it("since the file has grown", async () => {
    const longer = new Uint8Array(BYTES.length + 1);
    longer.set(BYTES);
    expect((await refusal(longer)).code).toBe("INTEGRITY_FINGERPRINT");
  });
  it("since a rotary divisor has changed, which is used as the header is read", async () => {
    const other = BYTES.slice();
    other[other.length - 62]! ^= 1;
    expect((await refusal(other)).code).toBe("INTEGRITY_FINGERPRINT");
  });
  it("damaged anywhere are a typed error, or padding", async () => {
    const file = await openBytes(BYTES);
    const { byTensor } = (await withThese(file)).header.checksums!;
    await fc.assert(
      fc.asyncProperty(fc.nat(CHECKSUMS.length - 1), fc.nat(7), async (at, bit) => {
        const copy = CHECKSUMS.slice();
        copy[at]! ^= 1 << bit;
        const opened = withThese(file, copy);
        if (await isRefused(opened)) await failureOf(opened);
        else expect((await opened).header.checksums!.byTensor).toEqual(byTensor);
        // A header that can be read as one no more, for instance as it claims to be longer than the file, is no report but an error.
        const verified = verifyChecksumFile(memorySource(copy));
        if (await isRefused(verified)) await failureOf(verified);
        else expect((await verified).ok).toBe(false);
      }),
      { numRuns: 200, examples: [[184, 5]] },
    );
  });
});

describe("a flipped bit of a tensor", () => {
  const damaged = (at: number) => {
    const copy = BYTES.slice();
    copy[at]! ^= 16;
    return copy;
  };

  it("anywhere is found by verify, which names the tensor and the group", async () => {
    const tensors = readTensors((await openBytes(BYTES)).header);
    await fc.assert(
      fc.asyncProperty(fc.nat(tensors.length - 1), fc.nat(1e6), async (i, nth) => {
        const { name, offset, sizeBytes } = tensors[i]!;
        const at = nth % sizeBytes;
        const file = await withThese(await openBytes(damaged(offset + at)));
        const { ok, bad, badCount } = await verifyModelFile(file);
        const group = offset + Math.floor(at / 8192) * 8192;
        expect([ok, badCount, bad]).toEqual([false, 1, [{ kind: "tensor", tensor: name, offset: group }]]);
      }),
      { numRuns: 60 },
    );
  });
  it("is found as the tensor is read; of a whole one nothing is said", async () => {
    const file = await withThese(await openBytes(BYTES));
    const { value } = file.header.matrices[0]!;
    const target = new Uint8Array(value.sizeBytes);
    await readResidentTensor(file, value, target);
    const bad = await withThese(await openBytes(damaged(value.offset + 5)));
    expect(await failureOf(readResidentTensor(bad, value, target))).toMatchObject({ code: "INTEGRITY_TENSOR" });
    expect((await verifyModelFile(file)).ok).toBe(true);
  });
});

describe("a mixture of experts", () => {
  const MIXTURE = mixtureFile("gpt-oss");
  const COUNT = 6;
  const withItsOwn = async (bytes: Uint8Array) => withThese(await openBytes(bytes), await MIXTURE_CHECKSUMS);
  const MIXTURE_CHECKSUMS = checksumsOf(MIXTURE);

  it("has a checksum for each matrix of each expert, and groups of bytes for all else", async () => {
    const { header } = await withItsOwn(MIXTURE);
    for (const layer of header.experts) {
      for (const matrix of layer!.matrices) {
        expect(header.checksums!.byTensor.get(matrix.tensor)).toHaveLength(COUNT);
        for (const expert of [0, 1, COUNT - 1]) {
          const begin = matrix.offset + expert * matrix.strideBytes;
          const bytes = MIXTURE.subarray(begin, begin + matrix.sizeBytes);
          expect(expertCrc(header, matrix, expert)).toBe(crc32c(bytes));
        }
      }
    }
    const tensors = readTensors(header).map(({ name }) => name);
    expect(header.checksums!.byTensor.size).toBe(tensors.length + 3 * header.experts.length);
    expect(tensors).toContain("blk.1.ffn_up_exps.bias");
  });
  it("without checksums beside it has none for its experts, and is not verified", async () => {
    const file = await openBytes(MIXTURE);
    expect(expertCrc(file.header, file.header.experts[0]!.matrices[0]!, 1)).toBeNull();
    expect(carriesChecksums(file.header)).toBe(false);
    expect(await failureOf(verifyModelFile(file))).toMatchObject({ code: "UNSUPPORTED_FEATURE" });
  });
  it("whole is verified to its last byte", async () => {
    const { ok, bytesChecked } = await verifyModelFile(await withItsOwn(MIXTURE));
    const { header } = await openBytes(MIXTURE);
    const residents = readTensors(header).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect([ok, bytesChecked]).toEqual([true, residents + expertBytes(header)]);
  });
  it("with a flipped bit of an expert is found damaged there, by its number", async () => {
    const { experts } = (await openBytes(MIXTURE)).header;
    await fc.assert(
      fc.asyncProperty(fc.nat(1), fc.nat(2), fc.nat(COUNT - 1), fc.nat(1e6), async (layer, i, expert, nth) => {
        const { tensor, offset, strideBytes, sizeBytes } = experts[layer]!.matrices[i]!;
        const begin = offset + expert * strideBytes;
        const copy = MIXTURE.slice();
        copy[begin + (nth % sizeBytes)]! ^= 8;
        const { bad } = await verifyModelFile(await withItsOwn(copy));
        expect(bad).toEqual([{ kind: "expert", layer, expert, tensor, offset: begin }]);
      }),
      { numRuns: 40 },
    );
  });
});

it("pieces of any length are held against the same checksums", () => {
  const length = fc.integer({ min: 1, max: 5000 });
  fc.assert(
    fc.property(
      length,
      fc.integer({ min: 1, max: 700 }),
      fc.array(length, { maxLength: 9 }),
      fc.nat(),
      (total, groupBytes, cuts, flip) => {
        const bytes = Uint8Array.from({ length: total }, (_, i) => (i * 7919) >> 3);
        const groups = Array.from({ length: Math.ceil(total / groupBytes) }, (_, g) =>
          crc32c(bytes.subarray(g * groupBytes, (g + 1) * groupBytes)),
        );
        const tensor = { name: "t", offset: 1000, sizeBytes: total };
        const checks = new TensorChecks(tensor, groupBytes, Uint32Array.from(groups));
        const at = flip % total;
        const found: number[] = [];
        for (const isDamaged of [false, true, false]) {
          if (isDamaged) bytes[at]! ^= 1;
          const ends = [...cuts.map((cut) => cut % total), total].sort((a, b) => a - b);
          let begin = 0;
          for (const end of ends) {
            if (end === begin) continue;
            const piece = bytes.subarray(begin, end);
            checks.take(begin, piece.length, crcOfBytes(piece), (offset) => found.push(offset));
            begin = end;
          }
          if (isDamaged) bytes[at]! ^= 1;
        }
        expect(found).toEqual([1000 + Math.floor(at / groupBytes) * groupBytes]);
      },
    ),
  );
});

it("groups that are absurdly short are refused before anything is read for them", async () => {
  const { header } = await openBytes(BYTES);
  const facts = new Map<string, GgufValue>([
    ["flashwick.checksums.model_fingerprint", text(header.fingerprint)],
    ["flashwick.checksums.model_bytes", { type: "u64", value: BigInt(header.fileBytes) }],
    ["flashwick.checksums.group_bytes", u32(1)],
  ]);
  const plan = planContainer("checksums", new Map(), facts, [{ name: "crc32c", type: "I32", shape: [4] }]);
  const bytes = new Uint8Array(plan.fileBytes);
  bytes.set(encodeContainerHeader(plan, Uint32Array.of(crc32c(new Uint8Array(16)))));
  const failure = await failureOf(withThese(await openBytes(BYTES), bytes));
  expect([failure.code, failure.message]).toEqual(["FORMAT_INVALID", expect.stringContaining("group_bytes")]);
});
