/** GGUF files of llama.cpp into records: which weights stand where, what travels, and what is refused. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ByteSource, IoError, memorySource } from "@flashwick/core";
import { decodeRow } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { writeChecksumFile } from "../checksum-file.js";
import { crc32c } from "../crc32c.js";
import { memoryJournal, memorySink } from "../memory-sink.js";
import { type ExpertMatrix, recordLayout } from "../model-file.js";
import type { NeuronRows } from "../model-writer.js";
import { openModelFile } from "../read-model.js";
import { verifyModelFile } from "../verify.js";
import { createModelWriter } from "../write-model.js";
import { concat, json, RecordingWriter, safetensors, TINY_CONFIG, tinyTensors } from "./checkpoint-fixture.js";
import { memoryFolder } from "./checkpoint-folder.js";
import type { ConvertOptions, CreateWriter } from "./conversion.js";
import { convertCheckpoint } from "./convert-checkpoint.js";
import { convertGguf } from "./convert-gguf.js";

const bytesOf = (name: string) =>
  new Uint8Array(readFileSync(fileURLToPath(new URL(`../../../runtime/fixtures/gguf/${name}.gguf`, import.meta.url))));
/** Six types of blocks of 256 among its matrices, in `qwen2` those of 32. */
const NAMES = ["llama", "qwen2"] as const;

class GatedRecorder extends RecordingWriter {
  readonly gates = new Map<number, number[]>();
  override async writeNeurons(layer: number, first: number, rows: NeuronRows): Promise<void> {
    this.gates.set(layer, [...(this.gates.get(layer) ?? []), ...rows.gate!]);
    await super.writeNeurons(layer, first, rows);
  }
}

async function record(name: string, options: ConvertOptions = {}) {
  const bytes = bytesOf(name);
  const { header } = await openModelFile(memorySource(bytes, name));
  let writer!: GatedRecorder;
  const result = await convertGguf(
    memorySource(bytes, `${name}.gguf`),
    "v1",
    async (...spec) => (writer = new GatedRecorder(...spec)),
    options,
  );
  return { bytes, header, writer, result };
}

describe.each(NAMES)("%s.gguf", (name) => {
  it("gives each neuron its gate row, its up row and its down column, decoded from their blocks", async () => {
    const { bytes, header, writer } = await record(name);
    const { gate, up, down } = header.matrices[1]!;
    const dFf = up.rows;
    const row = ({ dtype, offset, sizeBytes, rows, cols }: typeof up, index: number) => {
      const values = new Float32Array(cols);
      decodeRow(dtype, bytes, offset + (index * sizeBytes) / rows, cols, values);
      return values;
    };
    const downRows = Array.from({ length: down.rows }, (_, j) => row(down, j));
    for (const neuron of [0, 1, 31, 32, dFf - 1]) {
      const found = writer.neurons.get(1)![neuron]!;
      expect(found.slice(0, up.cols)).toEqual([...row(up, neuron)]);
      expect(found.slice(up.cols)).toEqual(downRows.map((values) => values[neuron]));
      expect(writer.gates.get(1)!.slice(neuron * up.cols, (neuron + 1) * up.cols)).toEqual([...row(gate!, neuron)]);
    }
    expect(writer.rows.get("blk.1.attn_q.weight")!.slice(-header.matrices[1]!.query.cols)).toEqual([
      ...row(header.matrices[1]!.query, header.matrices[1]!.query.rows - 1),
    ]);
  });

  it("gives checksums of the file's own bytes, so that every dtype has one fingerprint", async () => {
    const { bytes, header, writer } = await record(name);
    const stored = ({ offset, sizeBytes }: { offset: number; sizeBytes: number }) =>
      bytes.subarray(offset, offset + sizeBytes);
    const { gate, up, down, query } = header.matrices[0]!;
    expect(writer.sourceCrcs.get("blk.0.attn_q.weight")).toBe(crc32c(stored(query)));
    expect(writer.sourceCrcs.get("blk.0.ffn")).toBe(crc32c(concat([stored(gate!), stored(up), stored(down)])));
    const fingerprints = await Promise.all(
      (["f16", "int8"] as const).map(async (dtype) => (await made(name, { dtype })).result.fingerprint),
    );
    expect(new Set(fingerprints).size).toBe(1);
  });

  it("keeps geometry, vocabulary and the order of queries and keys", async () => {
    const { header } = await openModelFile(memorySource(bytesOf(name), name));
    const { bytes, result } = await made(name, {});
    const { header: converted } = await openModelFile(memorySource(bytes, name));
    expect(converted.geometry).toEqual(header.geometry);
    const tokenizerOf = (values: typeof header.values) => [...values].filter(([key]) => key.startsWith("tokenizer."));
    expect(new Map(tokenizerOf(converted.values))).toEqual(new Map(tokenizerOf(header.values)));
    expect([converted.tokenizerKind, result.tokenizer]).toEqual([header.tokenizerKind, header.tokenizerKind]);
    expect(result.dtype).toBe("f16");
  });

  it("placed in another order holds the same neurons", async () => {
    const plain = await record(name);
    const { layers } = plain.header.geometry;
    const placement = layers.map(({ ffn }) => Uint32Array.from({ length: ffn.dFf }, (_, i) => ffn.dFf - 1 - i));
    const { writer } = await record(name, { placement });
    expect(writer.neurons.get(1)).toEqual(plain.writer.neurons.get(1)!.toReversed());
  });

  it("an interrupted conversion goes on to the same bytes", async () => {
    const whole = await made(name, {});
    for (const reads of [3, 12, whole.reads - 1]) {
      const [sink, journal, abort] = [memorySink(name), memoryJournal(), new AbortController()];
      const stopped = made(
        name,
        { signal: abort.signal },
        sink,
        journal,
        (count) => count === reads && abort.abort("stop"),
      );
      await expect(stopped).rejects.toBe("stop");
      expect(sink.committed).toBeNull();
      const rest = await made(name, {}, sink, journal);
      expect(rest.reads).toBeLessThan(whole.reads);
      expect(Buffer.compare(rest.bytes, whole.bytes)).toBe(0);
    }
  });
});

describe.each(["mixtral", "olmoe", "qwen3moe"])("%s.gguf, a mixture", (name) => {
  const slice = (bytes: Uint8Array, { offset, strideBytes, sizeBytes }: ExpertMatrix, expert: number) =>
    bytes.subarray(offset + expert * strideBytes, offset + expert * strideBytes + sizeBytes);
  const opened = async (bytes: Uint8Array) => (await openModelFile(memorySource(bytes, name))).header;

  it("has every expert's blocks in one record, as they are, and its vocabulary", async () => {
    const { bytes, result } = await made(name, {});
    const source = bytesOf(name);
    const [from, to] = [await opened(source), await opened(bytes)];
    expect(to.geometry).toEqual(from.geometry);
    expect(to.tokenizerKind).toBe(from.tokenizerKind);
    expect(result).toMatchObject({ layout: "experts", dtype: from.weights.dtype, residentDtype: "q8_0" });
    expect(to.experts.length).toBe(from.experts.length);
    for (const [layer, experts] of from.experts.entries()) {
      for (const [m, matrix] of experts!.matrices.entries()) {
        const found = to.experts[layer]!.matrices[m]!;
        expect(found).toMatchObject({ role: matrix.role, dtype: matrix.dtype, rows: matrix.rows, cols: matrix.cols });
        for (let e = 0; e < experts!.count; e++) expect(slice(bytes, found, e)).toEqual(slice(source, matrix, e));
      }
    }
    expect(await verifyModelFile({ header: to, source: memorySource(bytes) })).toMatchObject({ ok: true });
  });

  it("has them in another type where one is asked for, with the same fingerprint", async () => {
    const kept = await made(name, {});
    const { bytes, result } = await made(name, { dtype: "f32" });
    expect(result).toMatchObject({ dtype: "f32", residentDtype: "f32", fingerprint: kept.result.fingerprint });
    const source = bytesOf(name);
    const [from, to] = [await opened(source), await opened(bytes)];
    for (const [m, matrix] of from.experts[1]!.matrices.entries()) {
      const values = new Float32Array(matrix.rows * matrix.cols);
      decodeRow(matrix.dtype, slice(source, matrix, 3), 0, values.length, values);
      expect(new Float32Array(slice(bytes, to.experts[1]!.matrices[m]!, 3).slice().buffer)).toEqual(values);
    }
  });

  it("is checked as it is read: an expert's weight that is no number is named", async () => {
    const bytes = bytesOf(name);
    const { matrices } = (await opened(bytes)).experts[0]!;
    const down = matrices.find(({ role }) => role === "down")!;
    // No number in f16, wherever the type has its scale, nor in any element type.
    slice(bytes, down, 1).fill(0xff, 0, down.sizeBytes / down.rows);
    const error = await made(name, {}, memorySink(name), memoryJournal(), () => {}, bytes).catch((e) => e);
    expect(error).toMatchObject({ code: "CHECKPOINT_TENSOR_VALUE", details: { tensor: "blk.0.ffn_down_exps.weight" } });
    expect(error.message).toMatch(/at \[1, 0, \d+\]/);
  });

  it("an interrupted conversion goes on to the same bytes", async () => {
    const whole = await made(name, {});
    const [sink, journal, abort] = [memorySink(name), memoryJournal(), new AbortController()];
    const stop = (count: number) => count === whole.reads - 1 && abort.abort("stop");
    await expect(made(name, { signal: abort.signal }, sink, journal, stop)).rejects.toBe("stop");
    const rest = await made(name, {}, sink, journal);
    expect(rest.reads).toBeLessThan(whole.reads);
    expect(Buffer.compare(rest.bytes, whole.bytes)).toBe(0);
  });
});

/** Converts in memory. @param onRead Gets the number of reads so far, those of the header included. */
async function made(
  name: string,
  options: ConvertOptions,
  sink = memorySink(name),
  journal = memoryJournal(),
  onRead: (count: number) => void = () => {},
  bytes = bytesOf(name),
) {
  let reads = 0;
  const inner = memorySource(bytes, `${name}.gguf`);
  const source = {
    ...inner,
    read: async (...operands: Parameters<typeof inner.read>) => {
      onRead(++reads);
      operands[2]?.throwIfAborted();
      await inner.read(...operands);
    },
  };
  const create: CreateWriter = (spec, sourceIdentity) => createModelWriter(sink, spec, { journal, sourceIdentity });
  const result = await convertGguf(source, "v1", create, options);
  return { result, bytes: sink.committed!, reads };
}

describe("a GGUF file that is not converted", () => {
  const failure = (bytes: Uint8Array) =>
    convertGguf(memorySource(bytes, "m.gguf"), "", (spec) => createModelWriter(memorySink(), spec)).catch((e) => e);

  it("is a model file of ours that was rounded to integers", async () => {
    const { bytes } = await made("llama", { dtype: "int8" });
    expect(await failure(bytes)).toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining("with int8, expected"),
    });
  });
  it("is a model file of ours with neurons in an order of its own", async () => {
    const { header } = await openModelFile(memorySource(bytesOf("llama")));
    const placement = header.geometry.layers.map(({ ffn }) => Uint32Array.from({ length: ffn.dFf }, (_, i) => i));
    const { bytes } = await made("llama", { placement });
    expect(await failure(bytes)).toMatchObject({ code: "INPUT_INVALID", message: expect.stringContaining("order") });
  });
  it("is a model file of ours with a record that is damaged", async () => {
    const { bytes } = await made("llama", { dtype: "f16" });
    const { records } = (await openModelFile(memorySource(bytes))).header;
    bytes[records[1]!.offset]! ^= 1;
    expect(await failure(bytes)).toMatchObject({
      code: "INTEGRITY_TENSOR",
      message: expect.stringContaining("blk.1.ffn does not match"),
    });
  });
  it("has a block whose scale is infinite: the weight is named", async () => {
    const bytes = bytesOf("qwen2");
    const { up } = (await openModelFile(memorySource(bytes))).header.matrices[0]!;
    bytes.set([0x00, 0x7c], up.offset);
    const error = await failure(bytes);
    expect(error).toMatchObject({ code: "CHECKPOINT_TENSOR_VALUE", details: { tensor: "blk.0.ffn_up.weight" } });
    expect(error.message).toContain("at [0, 0]");
  });
  it("is of another architecture", async () => {
    const bytes = bytesOf("llama");
    bytes.set(new TextEncoder().encode("mamba"), Buffer.from(bytes).indexOf("llama"));
    expect((await failure(bytes)).code).toBe("UNSUPPORTED_ARCHITECTURE");
  });
});

describe("a GGUF file in several files, or with checksums", () => {
  const NAME = "falcon-7b";
  const part = (i: number) => `${NAME}-0000${i}-of-00003`;

  /** A folder of these files, of which the first is open. */
  function folder(files: ReadonlyMap<string, Uint8Array>, first: string): ByteSource {
    const open = async (name: string): Promise<ByteSource> => {
      const bytes = files.get(name);
      if (!bytes) throw new IoError("IO_NOT_FOUND", name);
      return memorySource(bytes, name);
    };
    return { ...memorySource(files.get(first)!, first), openSibling: open };
  }
  async function converted(source: ByteSource): Promise<Uint8Array> {
    const sink = memorySink("out.gguf");
    await convertGguf(source, "v1", (spec) => createModelWriter(sink, spec));
    return sink.committed!;
  }
  const splitFiles = () => new Map<string, Uint8Array>([1, 2, 3].map((i) => [`${part(i)}.gguf`, bytesOf(part(i))]));

  it("gives the records of the whole file", async () => {
    const whole = await converted(memorySource(bytesOf(NAME), `${NAME}.gguf`));
    expect(await converted(folder(splitFiles(), `${part(1)}.gguf`))).toEqual(whole);
  });
  it("is held against its checksums before anything is written", async () => {
    const files = splitFiles();
    const first = `${part(1)}.gguf`;
    const sink = memorySink(`${part(1)}.crc32c.gguf`);
    await writeChecksumFile(sink, await openModelFile(folder(files, first)));
    files.set(sink.name, sink.committed!);
    expect((await converted(folder(files, first))).length).toBeGreaterThan(0);
    const second = files.get(`${part(2)}.gguf`)!;
    second[second.length - 5000]! ^= 1;
    const failure = await converted(folder(files, first)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "INTEGRITY_TENSOR", message: expect.stringContaining(`${part(2)}.gguf @`) });
  });
});

describe.each([
  ["opt-tiny", "f16", "bundled"],
  ["opt-tiny", "f32", "split"],
  ["llama", "bf16", "bundled"],
] as const)("a model file of ours, of %s in %s, %s", (name, dtype, layout) => {
  const convertAgain = async (bytes: Uint8Array, options: ConvertOptions) => {
    const sink = memorySink("again");
    const source = memorySource(bytes, "first.gguf");
    const result = await convertGguf(source, "v1", (spec) => createModelWriter(sink, spec), options);
    return { bytes: sink.committed!, result };
  };
  const first = async (): Promise<Uint8Array> => {
    if (name === "llama") return (await made("llama", { dtype, layout })).bytes;
    const sink = memorySink("first");
    const config = { hidden_size: 16, word_embed_proj_dim: 16 };
    const files = new Map([
      ["config.json", json({ ...TINY_CONFIG, ...config })],
      ["model.safetensors", safetensors(tinyTensors(config))],
    ]);
    await convertCheckpoint(memoryFolder(files), (spec) => createModelWriter(sink, spec), { dtype, layout });
    return sink.committed!;
  };

  it("becomes the same file again, and keeps fingerprint and tokenizer in another type", async () => {
    const bytes = await first();
    const { fingerprint } = (await openModelFile(memorySource(bytes))).header;
    const again = await convertAgain(bytes, { layout });
    expect(Buffer.compare(again.bytes, bytes)).toBe(0);
    const int8 = await convertAgain(bytes, { dtype: "int8" });
    expect(int8.result).toMatchObject({ fingerprint, dtype: "int8", tokenizer: again.result.tokenizer });
  });

  it("loses neurons as its checkpoint would, but for a fingerprint of its own", async () => {
    const bytes = await first();
    const { header } = await openModelFile(memorySource(bytes));
    const kept = header.geometry.layers.map(() => Uint32Array.of(0, 3, 4));
    const prune = { kept, trace: "ab".repeat(32), traceOf: header.fingerprint };
    const pruned = await convertAgain(bytes, { prune, layout });
    expect(pruned.result.pruned!.from).toBe(header.fingerprint);
    expect(pruned.result.fingerprint).not.toBe(header.fingerprint);
    const { records } = (await openModelFile(memorySource(pruned.bytes))).header;
    const stride = recordLayout(header).strideBytes;
    for (const [at, neuron] of [0, 3, 4].entries()) {
      const before = header.records[1]!.offset + neuron * stride;
      const after = records[1]!.offset + at * stride;
      expect(pruned.bytes.subarray(after, after + stride)).toEqual(bytes.subarray(before, before + stride));
    }
  });
});
