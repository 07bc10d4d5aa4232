import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decodeFloat16, memorySource, type Progress } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { crc32c } from "../crc32c.js";
import { memoryJournal, memorySink } from "../memory-sink.js";
import type { NeuronRows } from "../model-writer.js";
import { openModelFile } from "../read-model.js";
import { createModelWriter } from "../write-model.js";
import {
  concat,
  countingFolder,
  elements,
  type FixtureTensor,
  json,
  RecordingWriter,
  safetensors,
  TINY_CONFIG,
  tinyTensors,
  torchFile,
  utf8,
} from "./checkpoint-fixture.js";
import type { CheckpointFolder } from "./checkpoint-folder.js";
import type { ConvertOptions } from "./conversion.js";
import { convertCheckpoint } from "./convert-checkpoint.js";
import { openCheckpointFolder } from "./node.js";

const FIXTURES = fileURLToPath(new URL("../../fixtures/", import.meta.url));
const FC2 = "model.decoder.layers.1.fc2.weight";

type Files = Record<string, Uint8Array>;

function tinyFiles(change: { config?: Record<string, unknown>; tensors?: Map<string, FixtureTensor> } = {}): Files {
  return {
    "config.json": json({ ...TINY_CONFIG, ...change.config }),
    "model.safetensors": safetensors(change.tensors ?? tinyTensors(change.config)),
  };
}

async function record(folder: CheckpointFolder, options: ConvertOptions = {}, done?: ReadonlySet<string>) {
  let writer!: RecordingWriter;
  const create = async (...[spec, identity]: ConstructorParameters<typeof RecordingWriter>) =>
    (writer = new RecordingWriter(spec, identity, done));
  const result = await convertCheckpoint(folder, create, options);
  return { writer, result };
}

/** The failure of a conversion, after checking that nothing was left behind. */
async function failure(files: Files, options: ConvertOptions = {}): Promise<unknown> {
  const { folder, openFiles } = countingFolder(files);
  let writer: RecordingWriter | undefined;
  const create = async (...[spec, identity]: ConstructorParameters<typeof RecordingWriter>) =>
    (writer = new RecordingWriter(spec, identity));
  const error = await convertCheckpoint(folder, create, options).then(
    () => {
      throw new Error("the conversion succeeded");
    },
    (cause: unknown) => cause,
  );
  expect(openFiles()).toBe(0);
  expect(writer?.calls ?? { abandon: 1, finish: 0 }).toMatchObject({ abandon: 1, finish: 0 });
  return error;
}

describe("convertCheckpoint", () => {
  it("reads a post-norm .bin with projections; values as an independent reader has them", async () => {
    const { writer, result } = await record(await openCheckpointFolder(join(FIXTURES, "opt-tiny-postnorm")));
    expect(writer.spec).toMatchObject({
      name: "opt-tiny-postnorm",
      dtype: "f16",
      layout: "bundled",
      strideBytes: "auto",
    });
    expect(result).toMatchObject({
      nLayers: 3,
      dModel: 64,
      dFf: 256,
      vocabSize: 512,
      contextLength: 128,
      tokenizer: null,
    });
    const neuron = writer.neurons.get(2)![7]!;
    expect([neuron[3], neuron[64 + 3]]).toEqual([0.09393310546875, -0.0238800048828125]);
    expect(
      writer.neurons
        .get(2)!
        .flatMap((n) => n.slice(64))
        .reduce((sum, x) => sum + Math.abs(x), 0),
    ).toBeCloseTo(485.9075458, 6);
    expect(writer.rows.get("blk.1.ffn_norm.weight")!.slice(0, 3)).toEqual([1.0361328125, 1.00390625, 1.15234375]);
    expect(writer.rows.get("project_in.weight")![5 * 32 + 6]).toBe(-0.05914306640625);
    expect(writer.rows.get("token_embd.weight")!.at(-1)).toBe(-0.0377197265625);
    expect(writer.calls).toMatchObject({ finish: 1, abandon: 0 });
  });

  it("reads .bin shards whose names lack the leading model.", async () => {
    const { writer } = await record(await openCheckpointFolder(join(FIXTURES, "opt-tiny-sharded")));
    expect([...writer.rows.keys()]).toEqual(writer.residentTensors.map(({ name }) => name));
    expect(writer.neurons.get(2)![255]![64 + 63]).toBe(-0.0355224609375);
    expect(writer.rows.get("blk.0.attn_q.weight")![64 + 2]).toBe(0.048065185546875);
    expect(writer.rows.get("output_norm.weight")!.slice(0, 3)).toEqual([1.06640625, 0.939453125, 0.66552734375]);
    expect(writer.rows.get("blk.1.ffn_up.bias")!.slice(250, 253)).toEqual([
      0.07183837890625, -0.0248565673828125, -0.026336669921875,
    ]);
    expect(writer.rows.get("position_embd.weight")!.reduce((sum, x) => sum + Math.abs(x), 0)).toBeCloseTo(
      995.0132137,
      6,
    );
  });

  it("gives the same weights and checksums whatever the container", async () => {
    const tensors = tinyTensors();
    const config = { "config.json": json(TINY_CONFIG) };
    const halves = [[...tensors].slice(0, 9), [...tensors].slice(9)].map((part) => new Map(part));
    const index = (names: readonly string[]) =>
      json({
        weight_map: Object.fromEntries(halves.flatMap((half, i) => [...half.keys()].map((name) => [name, names[i]!]))),
      });
    const containers: Files[] = [
      { ...config, "pytorch_model.bin": torchFile(tensors) },
      {
        ...config,
        "model.safetensors.index.json": index(["a", "b"]),
        a: safetensors(halves[0]!),
        b: safetensors(halves[1]!),
      },
      {
        ...config,
        "pytorch_model.bin.index.json": index(["a", "b"]),
        a: torchFile(halves[0]!),
        b: torchFile(halves[1]!),
      },
    ];
    const { writer: first } = await record(countingFolder(tinyFiles()).folder);
    for (const files of containers) {
      const { writer } = await record(countingFolder(files).folder);
      expect(writer.rows).toEqual(first.rows);
      expect(writer.neurons).toEqual(first.neurons);
      expect(writer.sourceCrcs).toEqual(first.sourceCrcs);
    }
  });

  it("gives checksums of the checkpoint's own bytes, up before down", async () => {
    const tensors = tinyTensors();
    const { writer } = await record(countingFolder(tinyFiles({ tensors })).folder);
    const bytes = (name: string) => tensors.get(`model.decoder.${name}`)!.bytes;
    expect(writer.sourceCrcs.get("token_embd.weight")).toBe(crc32c(bytes("embed_tokens.weight")));
    expect(writer.sourceCrcs.get("blk.1.ffn")).toBe(
      crc32c(concat([bytes("layers.1.fc1.weight"), bytes("layers.1.fc2.weight")])),
    );
  });

  it("streams matrices larger than a block without seams", async () => {
    const config = { vocab_size: 530_000, ffn_dim: 270_000, num_hidden_layers: 1 };
    const tensors = tinyTensors(config);
    const values = (name: string) => floats(tensors.get(`model.decoder.${name}`)!);
    const [embedding, up, down] = ["embed_tokens.weight", "layers.0.fc1.weight", "layers.0.fc2.weight"].map(values);
    const [d, ff] = [8, config.ffn_dim];
    const seen = { rowBlocks: 0, neuronBlocks: 0, elements: 0, neurons: 0, wrong: 0 };
    class ComparingWriter extends RecordingWriter {
      override async writeRows(name: string, rows: Float32Array): Promise<void> {
        if (name !== "token_embd.weight") return;
        for (const x of rows) if (x !== embedding![seen.elements++]) seen.wrong++;
        seen.rowBlocks++;
      }
      override async writeNeurons(_layer: number, first: number, rows: NeuronRows): Promise<void> {
        const { up: ups, down: downs } = rows;
        for (let i = 0; i < ups.length; i++) {
          if (ups[i] !== up![first * d + i]) seen.wrong++;
          if (downs[i] !== down![(i % d) * ff + first + Math.floor(i / d)]) seen.wrong++;
        }
        seen.neurons += ups.length / d;
        seen.neuronBlocks++;
      }
    }
    const { folder } = countingFolder(tinyFiles({ config, tensors }));
    await convertCheckpoint(folder, async (spec, identity) => new ComparingWriter(spec, identity));
    expect(seen).toEqual({ rowBlocks: 2, neuronBlocks: 2, elements: 530_000 * d, neurons: ff, wrong: 0 });
  });

  it("reports progress in bytes up to the whole", async () => {
    const events: Progress[] = [];
    const tensors = tinyTensors();
    await record(countingFolder(tinyFiles({ tensors })).folder, { onProgress: (progress) => events.push(progress) });
    const total = [...tensors.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(events.at(-1)).toEqual({ phase: "convert", loaded: total, total, unit: "bytes", detail: "blk.1.ffn" });
    expect(events.length).toBeGreaterThan(1);
    expect(events.every(({ loaded }, i) => i === 0 || loaded > events[i - 1]!.loaded)).toBe(true);
  });

  it("skips what an interrupted run completed", async () => {
    const events: Progress[] = [];
    const done = new Set(["token_embd.weight", "blk.0.ffn"]);
    const { writer } = await record(countingFolder(tinyFiles()).folder, { onProgress: (p) => events.push(p) }, done);
    expect(writer.rows.has("token_embd.weight")).toBe(false);
    expect([...writer.neurons.keys()]).toEqual([1]);
    expect(events.at(-1)!.loaded).toBe(events.at(-1)!.total);
  });

  it("identifies the checkpoint by its files, so that another's unfinished output is not continued", async () => {
    const { writer } = await record(countingFolder(tinyFiles()).folder);
    expect(writer.sourceIdentity).toContain("model.safetensors");
  });

  it("reads the other forms: untied head, no biases, no affine norms, bf16, f32", async () => {
    const config = {
      tie_word_embeddings: false,
      enable_bias: false,
      layer_norm_elementwise_affine: false,
      dtype: "bfloat16",
    };
    const tensors = tinyTensors(config, "BF16");
    for (const name of [...tensors.keys()]) if (/bias|layer_norm/.test(name)) tensors.delete(name);
    tensors.set("lm_head.weight", { dtype: "F32", shape: [20, 8], bytes: elements("f32", Array(160).fill(0.1)) });
    const { writer } = await record(countingFolder(tinyFiles({ config, tensors })).folder);
    expect(writer.spec.dtype).toBe("bf16");
    expect([...writer.rows.keys()].filter((name) => /bias|norm/.test(name))).toEqual([]);
    expect(writer.rows.get("output.weight")!.at(-1)).toBe(Math.fround(0.1));
  });

  it("makes a model file that opens, with one fingerprint for every dtype and layout", async () => {
    const folder = countingFolder({ ...tinyFiles(), "tokenizer.json": utf8('{"model":{}}') }).folder;
    const fingerprints = new Set<string>();
    for (const options of [{}, { dtype: "f32" }, { dtype: "int8", layout: "split", stride: 512 }] as const) {
      const sink = memorySink();
      const create: Parameters<typeof convertCheckpoint>[1] = (spec, sourceIdentity) =>
        createModelWriter(sink, spec, { journal: memoryJournal(), sourceIdentity });
      const result = await convertCheckpoint(folder, create, options);
      const { header } = await openModelFile(memorySource(sink.committed!));
      expect(result).toMatchObject({
        fileBytes: sink.committed!.length,
        fingerprint: header.fingerprint,
        tokenizer: "tokenizer.json",
      });
      expect(result.ffnBytes).toBe(2 * 32 * header.weights.slotBytes);
      expect(result.residentBytes).toBeGreaterThan(0);
      fingerprints.add(result.fingerprint);
    }
    expect(fingerprints.size).toBe(1);
  });
});

describe("a conversion that cannot be done", () => {
  const without = (name: string) => {
    const tensors = tinyTensors();
    tensors.delete(name);
    return tensors;
  };
  const withTensor = (name: string, tensor: FixtureTensor) => tinyTensors().set(name, tensor);

  it.each([
    [
      "no config.json",
      () => ({ "model.safetensors": tinyFiles()["model.safetensors"]! }),
      "CHECKPOINT_CONFIG",
      ["config.json"],
    ],
    [
      "a config.json that is no JSON",
      () => ({ ...tinyFiles(), "config.json": utf8("{") }),
      "CHECKPOINT_CONFIG",
      ["config.json"],
    ],
    [
      "another architecture",
      () => tinyFiles({ config: { model_type: "mamba", architectures: ["MambaForCausalLM"] } }),
      "UNSUPPORTED_ARCHITECTURE",
      ["mamba"],
    ],
    [
      "a classifier of the family",
      () => tinyFiles({ config: { architectures: ["OPTForSequenceClassification"] } }),
      "UNSUPPORTED_ARCHITECTURE",
      ["OPTForSequenceClassification"],
    ],
    ["no architecture", () => ({ "config.json": json({}) }), "UNSUPPORTED_ARCHITECTURE", ["null"]],
    [
      "another activation",
      () => tinyFiles({ config: { activation_function: "gelu" } }),
      "UNSUPPORTED_ACTIVATION",
      ["gelu"],
    ],
    [
      "a quantized checkpoint",
      () => tinyFiles({ config: { quantization_config: {} } }),
      "UNSUPPORTED_FEATURE",
      ["quantization_config"],
    ],
    [
      "no weights",
      () => ({ "config.json": json(TINY_CONFIG), "tf_model.h5": utf8("x") }),
      "CHECKPOINT_NOT_FOUND",
      ["model.safetensors", "pytorch_model.bin"],
    ],
    [
      "a missing tensor",
      () => tinyFiles({ tensors: without(FC2) }),
      "CHECKPOINT_TENSOR_MISSING",
      ["model.safetensors", FC2, "[8, 32]"],
    ],
    [
      "an untied head that is missing",
      () => tinyFiles({ config: { tie_word_embeddings: false } }),
      "CHECKPOINT_TENSOR_MISSING",
      ["lm_head.weight"],
    ],
    [
      "a shape that config.json does not have",
      () => tinyFiles({ tensors: withTensor(FC2, { dtype: "F16", shape: [32, 8], bytes: new Uint8Array(512) }) }),
      "CHECKPOINT_TENSOR_SHAPE",
      ["model.safetensors", FC2, "[8, 32]", "[32, 8]"],
    ],
    [
      "integers as weights",
      () => tinyFiles({ tensors: withTensor(FC2, { dtype: "I8", shape: [8, 32], bytes: new Uint8Array(256) }) }),
      "UNSUPPORTED_FEATURE",
      [FC2, "I8"],
    ],
    ["a shard that is missing", () => sharded({ w: "gone.bin" }), "CHECKPOINT_SHARD_MISSING", ["gone.bin"]],
    [
      "a shard without its tensor",
      () => ({ ...sharded({ w: "a.bin" }), "a.bin": torchFile(tinyTensors()) }),
      "CHECKPOINT_TENSOR_MISSING",
      ["a.bin", "w"],
    ],
    [
      "an index that leaves the folder",
      () => sharded({ w: "../../etc/passwd" }),
      "CHECKPOINT_FILE",
      ["../../etc/passwd"],
    ],
    ["an index with an absolute path", () => sharded({ w: "/etc/passwd" }), "CHECKPOINT_FILE", ["/etc/passwd"]],
    ["an index with a Windows path", () => sharded({ w: "..\\a.bin" }), "CHECKPOINT_FILE", ["a.bin"]],
    [
      "an index without a map",
      () => ({ ...sharded({}), "pytorch_model.bin.index.json": json({}) }),
      "CHECKPOINT_FILE",
      ["weight_map"],
    ],
  ] as const)("names the problem: %s", async (_what, files, code, problems) => {
    const error = await failure(files() as Files);
    expect(error).toMatchObject({ code });
    for (const problem of problems) expect((error as Error).message).toContain(problem);
  });

  it.each([
    ["NaN in an up row", "model.decoder.layers.0.fc1.weight", Number.NaN, "NaN at [1, 2]", 8 + 2],
    ["infinity in a down column", FC2, Number.POSITIVE_INFINITY, "Infinity at [1, 2]", 32 + 2],
    [
      "-infinity in an embedding",
      "model.decoder.embed_tokens.weight",
      Number.NEGATIVE_INFINITY,
      "-Infinity at [1, 2]",
      8 + 2,
    ],
    ["NaN in a bias", "model.decoder.layers.0.fc1.bias", Number.NaN, "NaN at [5]", 5],
  ])("names the weight: %s", async (_what, name, value, problem, at) => {
    const tensors = tinyTensors();
    const tensor = tensors.get(name)!;
    const bytes = tensor.bytes.slice();
    bytes.set(elements("f16", [value]), 2 * at);
    const error = await failure(tinyFiles({ tensors: tensors.set(name, { ...tensor, bytes }) }));
    expect(error).toMatchObject({
      code: "CHECKPOINT_TENSOR_VALUE",
      details: { tensor: name, file: "model.safetensors" },
    });
    expect((error as Error).message).toContain(problem);
  });

  it("stops within one read when aborted, with the signal's own reason", async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    let reads = 0;
    const { folder, openFiles } = countingFolder(tinyFiles(), () => {
      if (++reads === 10) abort.abort(reason);
    });
    let writer!: RecordingWriter;
    const create = async (...[spec, identity]: ConstructorParameters<typeof RecordingWriter>) =>
      (writer = new RecordingWriter(spec, identity));
    await expect(convertCheckpoint(folder, create, { signal: abort.signal })).rejects.toBe(reason);
    expect([reads, openFiles()]).toEqual([10, 0]);
    expect(writer.calls).toMatchObject({ suspend: 1, abandon: 0, finish: 0 });
  });

  it("an abort deleted the journal: now the next conversion goes on where it stopped", async () => {
    const abort = new AbortController();
    let reads = 0;
    let readsBeforeAbort = Number.POSITIVE_INFINITY;
    const { folder } = countingFolder(tinyFiles(), () => {
      if (++reads === readsBeforeAbort) abort.abort("enough");
    });
    const convert = async (sink = memorySink(), journal = memoryJournal(), signal?: AbortSignal) => {
      reads = 0;
      const create: Parameters<typeof convertCheckpoint>[1] = (spec, sourceIdentity) =>
        createModelWriter(sink, spec, { journal, sourceIdentity });
      await convertCheckpoint(folder, create, signal ? { signal } : {});
      return { reads, bytes: sink.committed! };
    };
    const whole = await convert();
    const [sink, journal] = [memorySink(), memoryJournal()];
    readsBeforeAbort = whole.reads - 1;
    await expect(convert(sink, journal, abort.signal)).rejects.toBe("enough");
    expect(sink.committed).toBeNull();
    readsBeforeAbort = Number.POSITIVE_INFINITY;
    const rest = await convert(sink, journal);
    expect(rest.reads).toBeLessThan(whole.reads / 2);
    expect(Buffer.compare(rest.bytes, whole.bytes)).toBe(0);
  });

  it("does not begin when aborted before", async () => {
    expect(await failure(tinyFiles(), { signal: AbortSignal.abort("stop") })).toBe("stop");
  });

  it("passes on what went wrong first, though cleaning up fails too", async () => {
    const create = async (...[spec, identity]: ConstructorParameters<typeof RecordingWriter>) =>
      Object.assign(new RecordingWriter(spec, identity), {
        writeRows: () => Promise.reject(new Error("disk full")),
        abandon: () => Promise.reject(new Error("and broken")),
      });
    await expect(convertCheckpoint(countingFolder(tinyFiles()).folder, create)).rejects.toThrow("disk full");
  });
});

describe("openCheckpointFolder", () => {
  it("says when the folder does not exist, or is a file", async () => {
    await expect(openCheckpointFolder(join(FIXTURES, "nowhere"))).rejects.toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("does not exist"),
    });
    await expect(openCheckpointFolder(join(FIXTURES, "opt-tiny-postnorm", "config.json"))).rejects.toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("not a folder"),
    });
  });

  it("identifies a file anew when it changes", async () => {
    const path = await mkdtemp(join(tmpdir(), "flashwick-convert-"));
    try {
      await writeFile(join(path, "config.json"), "{}");
      const folder = await openCheckpointFolder(path);
      const before = await folder.identify("config.json");
      await writeFile(join(path, "config.json"), "{ }");
      expect(await folder.identify("config.json")).not.toBe(before);
    } finally {
      await rm(path, { recursive: true });
    }
  });
});

function sharded(weightMap: Record<string, string>): Files {
  return { "config.json": json(TINY_CONFIG), "pytorch_model.bin.index.json": json({ weight_map: weightMap }) };
}

/** The obvious decoding of an f16 fixture. */
function floats({ bytes }: FixtureTensor): Float32Array {
  return Float32Array.from(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2), (bits) =>
    decodeFloat16(bits),
  );
}
