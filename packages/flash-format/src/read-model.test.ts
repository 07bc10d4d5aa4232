import { type ByteSource, isFlashwickError, memorySource } from "@flashwick/core";
import { beforeAll, describe, expect, it } from "vitest";
import { readGgufHeader } from "./container.js";
import { type GgufValue, MAX_HEADER_BYTES } from "./gguf.js";
import { decodeGgufHeader } from "./gguf-decoder.js";
import { encodeGgufHeader } from "./gguf-encoder.js";
import { openModelFile, readRecordChecksums, readResidentTensor } from "./read-model.js";
import {
  type EditableHeader,
  openTinyModel,
  tinyModelBytes,
  tinySpec,
  withEditedHeader,
} from "./tiny-model.fixture.js";

interface Failure {
  readonly code: string;
  readonly message: string;
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    if (isFlashwickError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: "none", message: "" };
}

const open = (bytes: Uint8Array) => openModelFile(memorySource(bytes, "tiny.gguf"));

/** A source that notes what is asked of it. */
function watchedSource(bytes: Uint8Array): { source: ByteSource; reads: [number, number][] } {
  const reads: [number, number][] = [];
  const inner = memorySource(bytes);
  const source: ByteSource = {
    ...inner,
    read(target, offset, signal) {
      reads.push([offset, target.length]);
      return inner.read(target, offset, signal);
    },
  };
  return { source, reads };
}

let good: Uint8Array;
let int8: Uint8Array;
let headerBytes: number;
beforeAll(async () => {
  good = await tinyModelBytes();
  int8 = await tinyModelBytes(tinySpec({ dtype: "int8" }));
  headerBytes = decodeGgufHeader(good, "").headerBytes;
});

describe("openModelFile", () => {
  it("reads 64 KiB at first, and nothing else if the header is in them", async () => {
    const { source, reads } = watchedSource(good);
    await openModelFile(source);
    expect(reads).toEqual([[0, 65536]]);
  });

  it("reads a longer header in few, growing steps, no byte of it twice, and no record", async () => {
    const tokenizerJson = "x".repeat(900_000);
    const { source, reads } = watchedSource(await tinyModelBytes(tinySpec({ tokenizerJson })));
    const { header } = await openModelFile(source);
    expect(reads.map(([, length]) => length)[0]).toBe(65536);
    expect(reads.length).toBeLessThanOrEqual(3);
    let end = 0;
    for (const [offset, length] of reads) {
      expect(offset).toBe(end);
      end += length;
    }
    for (const [offset, length] of reads) expect(offset + length).toBeLessThan(header.records[0]!.offset + 4 * 900_000);
  });

  it("gives a frozen header", async () => {
    const { header } = await open(good);
    expect([header, header.geometry, header.weights, header.records].every(Object.isFrozen)).toBe(true);
  });
});

describe("a truncated file", () => {
  it.each([0, 1, 3, 4, 8, 23, 24, 100, 1000, 5000])("of %i bytes is FORMAT_TRUNCATED", async (size) => {
    expect((await failureOf(open(good.slice(0, size)))).code).toBe("FORMAT_TRUNCATED");
  });

  it("is so anywhere: at the end of the header, inside the data, one byte short", async () => {
    for (const size of [headerBytes - 1, headerBytes, 8192, good.length >> 1, good.length - 4096, good.length - 1]) {
      expect((await failureOf(open(good.slice(0, size)))).code).toBe("FORMAT_TRUNCATED");
    }
  });

  it("says where it ends and where it should", async () => {
    const { message } = await failureOf(open(good.slice(0, 8192)));
    expect(message).toBe(
      `tiny.gguf @ 8192: expected ${good.length - 8192} bytes, but the file ends at 8192; it is truncated, fetch or convert it again`,
    );
  });

  it("and one with bytes added is FORMAT_INVALID", async () => {
    const longer = new Uint8Array(good.length + 1);
    longer.set(good);
    expect((await failureOf(open(longer))).code).toBe("FORMAT_INVALID");
  });
});

describe("a flipped bit", () => {
  it("anywhere in the header is a typed error", async () => {
    // The tiny header lies in the first read; the data after it is not looked at.
    const bytes = good.slice();
    for (let at = 0; at < headerBytes; at++) {
      const bit = 1 << (at % 8);
      bytes[at]! ^= bit;
      const { code } = await failureOf(open(bytes));
      expect(code, `byte ${at}`).toMatch(/^(FORMAT_|INTEGRITY_HEADER)/);
      bytes[at]! ^= bit;
    }
  });

  it("in a value that could as well be right is INTEGRITY_HEADER", async () => {
    const { valueOffsets } = decodeGgufHeader(good, "");
    for (const key of ["opt.vocab_size", "flashwick.record.stride", "flashwick.fingerprint", "general.name"]) {
      const bytes = good.slice();
      bytes[valueOffsets.get(key)! + (key === "general.name" ? 8 : key.endsWith("fingerprint") ? 9 : 0)]! ^= 1;
      const failure = await failureOf(open(bytes));
      expect(failure.code, key).toBe("INTEGRITY_HEADER");
      expect(failure.message).toMatch(/CRC-32C is [0-9a-f]{8}, expected [0-9a-f]{8}/);
    }
  });

  it.each([
    ["elements", 0],
    ["the last element", -1],
  ])("in the %s of a resident tensor is INTEGRITY_TENSOR, naming it", async (_, at) => {
    for (const name of ["token_embd.weight", "blk.1.ffn_down.bias"]) {
      const { file, bytes } = await openTinyModel();
      const tensor = file.header.tensors.get(name)!;
      bytes[tensor.offset + (at < 0 ? tensor.sizeBytes + at : at)]! ^= 0x80;
      const failure = await failureOf(readResidentTensor(file, tensor, new Uint8Array(tensor.sizeBytes)));
      expect(failure.code).toBe("INTEGRITY_TENSOR");
      expect(failure.message).toContain(`tensor "${name}" has CRC-32C`);
    }
  });

  it("in the scales of an int8 tensor is INTEGRITY_TENSOR, naming them", async () => {
    const { file, bytes } = await openTinyModel(tinySpec({ dtype: "int8" }));
    const tensor = file.header.tensors.get("blk.0.attn_k.weight")!;
    bytes[tensor.scales!.offset]! ^= 1;
    const target = new Uint8Array(tensor.sizeBytes);
    const failure = await failureOf(readResidentTensor(file, tensor, target, new Uint8Array(4 * tensor.rows)));
    expect(failure.code).toBe("INTEGRITY_TENSOR");
    expect(failure.message).toContain('"blk.0.attn_k.weight.scale"');
  });

  it("in a layer's checksums is INTEGRITY_TENSOR", async () => {
    const { file, bytes } = await openTinyModel();
    bytes[file.header.records[1]!.crcOffset + 4]! ^= 1;
    expect((await failureOf(readRecordChecksums(file, 1))).code).toBe("INTEGRITY_TENSOR");
    expect((await failureOf(readRecordChecksums(file, 0))).code).toBe("none");
  });
});

describe("targets of the wrong size", () => {
  it("are SHAPE errors", async () => {
    const { file } = await openTinyModel(tinySpec({ dtype: "int8" }));
    const tensor = file.header.tensors.get("token_embd.weight")!;
    const target = new Uint8Array(tensor.sizeBytes);
    expect((await failureOf(readResidentTensor(file, tensor, new Uint8Array(3)))).code).toBe("SHAPE");
    expect((await failureOf(readResidentTensor(file, tensor, target))).message).toContain("scales");
    expect((await failureOf(readResidentTensor(file, tensor, target, new Uint8Array(3)))).code).toBe("SHAPE");
    expect((await failureOf(readRecordChecksums(file, 2))).code).toBe("SHAPE");
  });
});

const u32 = (value: number): GgufValue => ({ type: "u32", value });
const text = (value: string): GgufValue => ({ type: "string", value });
const f32 = (value: number): GgufValue => ({ type: "f32", value });

/** Every field of the header that is read: a wrong value in a header whose checksum is right. */
const WRONG_FIELDS: [string, GgufValue, string][] = [
  ["general.alignment", u32(32), "FORMAT_INVALID"],
  ["general.alignment", u32(0), "FORMAT_INVALID"],
  ["general.architecture", text("gpt"), "FORMAT_INVALID"],
  ["general.architecture", text("falcon"), "FORMAT_MISSING"],
  ["flashwick.kind", text("poem"), "FORMAT_INVALID"],
  ["flashwick.kind", text("predictor"), "FORMAT_VERSION"],
  ["flashwick.format.version", u32(1), "FORMAT_VERSION"],
  ["flashwick.format.version", u32(5), "FORMAT_VERSION"],
  ["flashwick.format.version", u32(0), "FORMAT_VERSION"],
  ["flashwick.format.version", text("1"), "FORMAT_INVALID"],
  ["flashwick.header.crc32c", text("x"), "FORMAT_INVALID"],
  ["flashwick.file.size", { type: "u64", value: 4096n }, "FORMAT_INVALID"],
  ["flashwick.file.size", { type: "u64", value: 2n ** 63n }, "FORMAT_INVALID"],
  ["flashwick.file.size", { type: "u64", value: 2n ** 50n }, "FORMAT_TRUNCATED"],
  ["flashwick.fingerprint", text("z".repeat(64)), "FORMAT_INVALID"],
  ["flashwick.dtype", text("q4"), "FORMAT_INVALID"],
  ["flashwick.dtype", text("q5"), "FORMAT_INVALID"],
  ["flashwick.dtype", text("f32"), "FORMAT_INVALID"],
  ["flashwick.resident.dtype", text("f32"), "FORMAT_INVALID"],
  ["flashwick.resident.dtype", text("q4"), "FORMAT_INVALID"],
  ["flashwick.resident.dtype", text("q6_k"), "FORMAT_INVALID"],
  ["flashwick.resident.dtype", u32(2), "FORMAT_INVALID"],
  ["flashwick.record.layout", text("split"), "FORMAT_INVALID"],
  ["flashwick.record.layout", text("scattered"), "FORMAT_INVALID"],
  ["flashwick.record.stride", u32(1000), "FORMAT_INVALID"],
  ["flashwick.record.stride", u32(0), "FORMAT_INVALID"],
  ["flashwick.record.stride", u32(1024), "FORMAT_INVALID"],
  ["flashwick.record.stride", u32(2 ** 31), "FORMAT_INVALID"],
  ["flashwick.record.parts", text("down up"), "FORMAT_INVALID"],
  ["flashwick.record.parts", text("gate up down"), "FORMAT_INVALID"],
  ["flashwick.record.offsets", { type: "array", of: "u32", value: Uint32Array.of(0, 48) }, "FORMAT_INVALID"],
  ["flashwick.record.offsets", { type: "array", of: "u32", value: Uint32Array.of(0) }, "FORMAT_INVALID"],
  ["flashwick.placement", text("elsewhere"), "FORMAT_INVALID"],
  ["flashwick.tensor.crc32c", { type: "array", of: "u32", value: new Uint32Array(3) }, "FORMAT_INVALID"],
  ["flashwick.tensor.crc32c", { type: "array", of: "i32", value: new Int32Array(38) }, "FORMAT_INVALID"],
  ["opt.block_count", u32(0), "FORMAT_INVALID"],
  ["opt.block_count", u32(3), "FORMAT_INVALID"],
  ["opt.block_count", u32(2 ** 32 - 1), "FORMAT_INVALID"],
  ["opt.context_length", u32(0), "FORMAT_INVALID"],
  ["opt.context_length", u32(7), "FORMAT_INVALID"],
  ["opt.embedding_length", u32(40), "FORMAT_INVALID"],
  ["opt.embedding_length", u32(0), "FORMAT_INVALID"],
  ["opt.vocab_size", u32(12), "FORMAT_INVALID"],
  ["opt.vocab_size", u32(0), "FORMAT_INVALID"],
  ["flashwick.composition", text("not JSON"), "FORMAT_INVALID"],
  ["flashwick.composition", text("{}"), "FORMAT_INVALID"],
  ["flashwick.composition", u32(1), "FORMAT_INVALID"],
  ["tokenizer.ggml.bos_token_id", text("<s>"), "FORMAT_INVALID"],
  ["tokenizer.ggml.eos_token_id", f32(2), "FORMAT_INVALID"],
  ["flashwick.tokenizer.kind", text("sentencepiece"), "FORMAT_INVALID"],
  ["tokenizer.huggingface.json", u32(1), "FORMAT_INVALID"],
];

const OPTIONAL = new Set([
  "flashwick.resident.dtype",
  "tokenizer.ggml.bos_token_id",
  "tokenizer.ggml.eos_token_id",
  "tokenizer.huggingface.json",
]);

describe("a header whose checksum is right, but not", () => {
  it.each(WRONG_FIELDS)("%s = %o", async (key, value, code) => {
    const failure = await failureOf(open(withEditedHeader(good, ({ metadata }) => metadata.set(key, value))));
    expect(failure.code).toBe(code);
    expect(failure.message).toMatch(/^tiny\.gguf/);
  });

  it.each([...new Set(WRONG_FIELDS.map(([key]) => key))].filter((key) => !OPTIONAL.has(key)))(
    "with %s missing",
    async (key) => {
      const failure = await failureOf(open(withEditedHeader(good, ({ metadata }) => metadata.delete(key))));
      expect(failure.code).toBe(key === "flashwick.format.version" ? "FORMAT_NOT_FLASHWICK" : "FORMAT_MISSING");
      expect(failure.message).toContain(`"${key}"`);
    },
  );

  it.each<[string, (header: EditableHeader) => void, string, RegExp]>([
    ["a tensor missing", ({ tensors }) => void tensors.splice(5, 1), "FORMAT_INVALID", /flashwick\.tensor\.crc32c/],
    [
      "a tensor renamed",
      (h) => edit(h, 5, { name: "blk.0.attn_x" }),
      "FORMAT_MISSING",
      /"blk\.0\.attn_q\.bias" is missing/,
    ],
    [
      "a tensor transposed",
      (h) => edit(h, 0, { shape: [11, 20] }),
      "FORMAT_INVALID",
      /F16 \[20, 11\], found F16 \[11, 20\]/,
    ],
    ["a tensor of another type", (h) => edit(h, 0, { type: "BF16" }), "FORMAT_INVALID", /"token_embd\.weight"/],
    ["a quantised tensor", (h) => edit(h, 0, { type: 12 }), "FORMAT_INVALID", /a known type/],
    ["an empty tensor", (h) => edit(h, 0, { shape: [0, 11] }), "FORMAT_INVALID", /positive dimensions/],
    ["a tensor without dimensions", (h) => edit(h, 0, { shape: [] }), "FORMAT_INVALID", /positive dimensions/],
    ["a huge tensor", (h) => edit(h, 0, { shape: [2 ** 24, 2 ** 24] }), "FORMAT_INVALID", /offset/],
    [
      "an unaligned offset",
      (h) => edit(h, 3, { offset: 12289 }),
      "FORMAT_INVALID",
      /expected offset 12288, .* found 12289/,
    ],
    ["overlapping tensors", (h) => edit(h, 3, { offset: 8192 }), "FORMAT_INVALID", /found 8192/],
    ["a tensor outside the file", (h) => edit(h, 3, { offset: 2 ** 40 }), "FORMAT_INVALID", /found 1099511627776/],
  ])("%s", async (_, change, code, message) => {
    const failure = await failureOf(open(withEditedHeader(good, change)));
    expect(failure.code).toBe(code);
    expect(failure.message).toMatch(message);
  });

  function edit({ tensors }: EditableHeader, i: number, changes: object): void {
    tensors[i] = { ...tensors[i]!, ...changes };
  }

  it.each<[string, unknown, string]>([
    ["embedding.dim", 0, "FORMAT_INVALID"],
    ["embedding.dim", 12, "FORMAT_INVALID"],
    ["embedding.scale", 0, "FORMAT_INVALID"],
    ["embedding.positions.offset", 3, "FORMAT_INVALID"],
    ["order", [0], "FORMAT_INVALID"],
    ["order", [0, 1], "FORMAT_INVALID"],
    ["order", [0, -1], "FORMAT_INVALID"],
    ["layers", [], "FORMAT_INVALID"],
    ["layers.0.ffn.dFf", 8, "FORMAT_INVALID"],
    ["layers.0.ffn.dFf", 2 ** 21, "FORMAT_INVALID"],
    ["layers.0.ffn.dFf", 1.5, "FORMAT_INVALID"],
    ["layers.0.ffn.activation", "tanh", "FORMAT_INVALID"],
    ["layers.0.ffn.activation", "swiglu-clamped", "FORMAT_INVALID"],
    ["layers.0.ffn.gated", true, "FORMAT_INVALID"],
    ["layers.0.ffn.upActivation", "relu", "FORMAT_INVALID"],
    ["layers.0.ffn.biases.gate", true, "FORMAT_INVALID"],
    ["layers.0.attention.nHeads", 3, "FORMAT_INVALID"],
    ["layers.0.attention.nKvHeads", 3, "FORMAT_INVALID"],
    ["layers.0.attention.headDim", 4, "FORMAT_INVALID"],
    ["layers.0.attention.scale", Number.NaN, "FORMAT_INVALID"],
    ["layers.0.attention.windowTokens", 0, "FORMAT_INVALID"],
    ["layers.0.attention.biases.query", 1, "FORMAT_INVALID"],
    ["layers.0.attention.rotary", { theta: 1e4, dims: 3, pairs: "halves", scaling: null }, "FORMAT_INVALID"],
    ["layers.0.attention.rotary", { theta: 1e4, dims: 6, pairs: "halves", scaling: null }, "FORMAT_INVALID"],
    ["layers.0.attention.rotary", { theta: 0, dims: 4, pairs: "halves", scaling: null }, "FORMAT_INVALID"],
    [
      "layers.0.attention.rotary",
      { theta: 1e4, dims: 4, pairs: "halves", scaling: { kind: "factors", factors: [1] } },
      "FORMAT_INVALID",
    ],
    ["layers.0.norms.beforeFfn.epsilon", 0, "FORMAT_INVALID"],
    ["layers.0.norms.beforeFfn.kind", "batch", "FORMAT_INVALID"],
    ["layers.0.norms.afterFfn", { kind: "rms", epsilon: 1e-5, weight: true, bias: false }, "FORMAT_MISSING"],
    ["layers.0.norms.ffnSum", { kind: "rms", epsilon: 1e-5, weight: true, bias: false }, "FORMAT_INVALID"],
    ["layers.0.parallel", "yes", "FORMAT_INVALID"],
    ["head.tied", false, "FORMAT_MISSING"],
    ["head.bias", true, "FORMAT_MISSING"],
    ["surprise", 1, "FORMAT_INVALID"],
  ])("a composition whose %s is %j", async (path, value, code) => {
    const edited = withEditedHeader(good, ({ metadata }) => {
      const key = "flashwick.composition";
      const composition = JSON.parse(metadata.get(key)!.value as string);
      const names = path.split(".");
      const last = names.pop()!;
      const parent = names.reduce((part, name) => part[name], composition);
      parent[last] = value;
      metadata.set(key, text(JSON.stringify(composition)));
    });
    expect((await failureOf(open(edited))).code).toBe(code);
  });

  it("int8: with a wrong scales offset, or none", async () => {
    const key = "flashwick.record.scale_offsets";
    const offsets: GgufValue = { type: "array", of: "u32", value: Uint32Array.of(60, 64) };
    const wrong = withEditedHeader(int8, ({ metadata }) => metadata.set(key, offsets));
    expect((await failureOf(open(wrong))).code).toBe("FORMAT_INVALID");
    const none = withEditedHeader(int8, ({ metadata }) => metadata.delete(key));
    expect((await failureOf(open(none))).code).toBe("FORMAT_MISSING");
  });

  it("int8: with the scales of a matrix missing", async () => {
    const renamed = withEditedHeader(int8, (header) => edit(header, 1, { name: "token_embd.weight.scales" }));
    expect((await failureOf(open(renamed))).message).toContain('tensor "token_embd.weight.scale" is missing');
  });
});

describe("files that are not ours", () => {
  it("are told apart: another kind of file, another GGUF, a predictor", async () => {
    expect((await failureOf(open(new TextEncoder().encode('{"a": 1}')))).code).toBe("FORMAT_NOT_GGUF");
    const { bytes } = encodeGgufHeader({ metadata: new Map([["general.architecture", text("opt")]]), tensors: [] });
    const foreign = await failureOf(open(bytes));
    expect(foreign.code).toBe("UNSUPPORTED_ARCHITECTURE");
    expect(foreign.message).toContain("flashwick convert");
  });

  it("still have a header that can be read, whole or not at all", async () => {
    const metadata = new Map<string, GgufValue>([["general.architecture", text("llama")]]);
    const tensors = [{ name: "token_embd.weight", shape: [256, 2], type: 16, offset: 0 }];
    const { bytes } = encodeGgufHeader({ metadata, tensors });
    expect(await readGgufHeader(memorySource(bytes))).toEqual({ metadata, tensors });
    const cut = memorySource(bytes.subarray(0, bytes.length - 1), "cut.gguf");
    expect((await failureOf(readGgufHeader(cut))).code).toBe("FORMAT_TRUNCATED");
  });

  it("a header that goes on beyond 256 MiB is FORMAT_LIMIT, without reading that much", async () => {
    // Five strings of 64 MiB, of which nothing but the lengths exists.
    const { bytes } = encodeGgufHeader({ metadata: new Map(), tensors: [] });
    new DataView(bytes.buffer).setBigUint64(16, 5n, true);
    let most = 0;
    const source: ByteSource = {
      name: "endless",
      sizeBytes: 2 ** 40,
      async read(target) {
        most = Math.max(most, target.length);
        target.set(bytes.subarray(0, Math.min(bytes.length, target.length)));
        target.set(endlessPairs(target.length), bytes.length);
      },
      async close() {},
    };
    expect((await failureOf(openModelFile(source))).code).toBe("FORMAT_LIMIT");
    expect(most).toBeLessThanOrEqual(MAX_HEADER_BYTES);
  });

  /** As many pairs of a one-byte key and a string of 64 MiB as begin in `sizeBytes`; their content is zeros. */
  function endlessPairs(sizeBytes: number): Uint8Array {
    const pairs = new Uint8Array(sizeBytes - 24);
    const view = new DataView(pairs.buffer);
    const pairBytes = 8 + 1 + 4 + 8 + 64 * 1024 * 1024;
    for (let i = 0; i * pairBytes + 21 <= pairs.length; i++) {
      const at = i * pairBytes;
      view.setBigUint64(at, 1n, true);
      pairs[at + 8] = 97 + i;
      view.setUint32(at + 9, 8, true);
      view.setBigUint64(at + 13, BigInt(64 * 1024 * 1024), true);
    }
    return pairs;
  }
});
