import {
  type AttentionGeometry,
  type ByteSink,
  type FfnGeometry,
  IoError,
  isFlashwickError,
  type LayerGeometry,
  type LayerNorms,
  type ModelGeometry,
  memorySource,
  type NormGeometry,
  PLAIN_DTYPES,
  type PlainDType,
  type RotaryScaling,
} from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32c } from "./crc32c.js";
import { memoryJournal, memorySink } from "./memory-sink.js";
import type { ModelFile } from "./model-file.js";
import { recordLayout } from "./model-file.js";
import type { ModelWriter } from "./model-writer.js";
import { openModelFile, readRecordChecksums, readResidentTensor } from "./read-model.js";
import {
  decodeElements,
  openTinyModel,
  TINY_GEOMETRY,
  TINY_LAYERS,
  TINY_NEURONS,
  tinyGeometry,
  tinyModelBytes,
  tinyRows,
  tinySpec,
  tinyWeight,
  writeTinyModel,
  writeTinyParts,
} from "./tiny-model.fixture.js";
import { createModelWriter } from "./write-model.js";

const LAYOUTS = ["bundled", "split"] as const;
const variants = PLAIN_DTYPES.flatMap((dtype) => LAYOUTS.map((layout) => [dtype, layout] as const));

async function errorOf(promise: Promise<unknown>): Promise<{ code: string; message: string; details: unknown }> {
  try {
    await promise;
  } catch (error) {
    if (isFlashwickError(error)) return error;
    throw error;
  }
  throw new Error("no error");
}

/** A resident tensor as numbers, scales applied. */
async function readNumbers(file: ModelFile, name: string): Promise<Float32Array> {
  const tensor = file.header.tensors.get(name)!;
  const bytes = new Uint8Array(tensor.sizeBytes);
  const scales = tensor.scales === null ? null : new Float32Array(tensor.rows);
  await readResidentTensor(file, tensor, bytes, scales && new Uint8Array(scales.buffer));
  const elements = decodeElements(tensor.dtype, bytes);
  return elements.map((value, i) => value * (scales?.[Math.floor(i / tensor.cols)] ?? 1));
}

/** A neuron's slot, both halves in order. */
function slotOf(file: ModelFile, bytes: Uint8Array, layer: number, neuron: number): Uint8Array {
  const { records } = file.header;
  const weights = recordLayout(file.header);
  const { offset, downOffset } = records[layer]!;
  const at = neuron * weights.strideBytes;
  const slot = new Uint8Array(weights.slotBytes);
  slot.set(bytes.subarray(offset + at, offset + at + weights.strideBytes));
  if (downOffset !== null) {
    slot.set(bytes.subarray(downOffset + at, downOffset + at + weights.strideBytes), weights.strideBytes);
  }
  return slot;
}

function rowOf(slot: Uint8Array, offset: number, dtype: PlainDType): Float32Array {
  const { dModel } = TINY_GEOMETRY;
  const elementBytes = { f32: 4, f16: 2, bf16: 2, int8: 1 }[dtype];
  return decodeElements(dtype, slot.subarray(offset, offset + dModel * elementBytes));
}

/** As `toEqual`, without comparing hundreds of kilobytes property by property. */
function expectSameBytes(actual: Uint8Array | null, expected: Uint8Array): void {
  expect(actual?.length).toBe(expected.length);
  expect(Buffer.compare(actual!, expected)).toBe(0);
}

function expectClose(actual: Float32Array, expected: Float32Array, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(tolerance);
  });
}

/** Half a step of 2/127 for int8; the test weights are exact in all others but bf16, which keeps 8 bits. */
const TOLERANCE: Readonly<Record<PlainDType, number>> = { f32: 0, f16: 0, bf16: 2 ** -8, int8: 2 / 127 / 2 + 1e-6 };

describe.each(variants)("a model written as %s, %s", (dtype, layout) => {
  const spec = tinySpec({ dtype, layout });

  it(`gives every resident tensor back, within ${TOLERANCE[dtype]}`, async () => {
    const { file } = await openTinyModel(spec);
    expect(file.header.tensors.size).toBe(2 + 2 * 14 + 2);
    for (const { name, rows, cols, dtype: stored } of file.header.tensors.values()) {
      expectClose(await readNumbers(file, name), tinyRows(name, 0, rows, cols), TOLERANCE[stored as PlainDType]);
    }
  });

  it(`gives every neuron back from its slot, within ${TOLERANCE[dtype]}, and its checksum`, async () => {
    const { file, bytes } = await openTinyModel(spec);
    const { geometry } = file.header;
    const weights = recordLayout(file.header);
    for (let layer = 0; layer < TINY_LAYERS; layer++) {
      const checksums = await readRecordChecksums(file, layer);
      for (let neuron = 0; neuron < TINY_NEURONS; neuron++) {
        const slot = slotOf(file, bytes, layer, neuron);
        expect(crc32c(slot)).toBe(checksums[neuron]);
        for (const { role, offsetBytes, scaleOffsetBytes: at } of weights.parts) {
          const scale = at === null ? 1 : new Float32Array(slot.slice(at, at + 4).buffer)[0]!;
          const row = rowOf(slot, offsetBytes, dtype).map((x) => x * scale);
          expectClose(row, tinyRows(`blk.${layer}.ffn_${role}`, neuron, 1, geometry.dModel), TOLERANCE[dtype]);
        }
      }
    }
  });

  it("is the same, byte for byte, however the rows are cut into calls", async () => {
    const whole = await tinyModelBytes(spec, 100);
    expectSameBytes(await tinyModelBytes(spec, 1), whole);
    expectSameBytes(await tinyModelBytes(spec, 3), whole);
  });
});

describe("the header that comes back", () => {
  it("says what was written", async () => {
    const spec = tinySpec({ dtype: "int8" });
    const { file, bytes } = await openTinyModel(spec);
    expect(file.header.geometry).toEqual(spec.geometry);
    expect(file.header.weights).toMatchObject({ dtype: "int8", layout: "bundled", strideBytes: 512 });
    expect(file.header.tokenizerJson).toBe(spec.tokenizerJson);
    expect(file.header.tokenizerKind).toBe("tokenizer.json");
    expect(file.header.fileBytes).toBe(bytes.length);
    expect(file.header.metadata.get("general.name")).toBe("tiny");
    expect(file.header.metadata.get("flashwick.file.size")).toBe(bytes.length);
  });

  it("is what finish() returns", async () => {
    const sink = memorySink();
    const header = await writeTinyModel(sink);
    expect(header).toEqual((await openModelFile(memorySource(sink.committed!))).header);
  });

  it("has no tokenizer where none was given", async () => {
    const { file } = await openTinyModel(tinySpec({ tokenizerJson: null, tokenizerKind: null }));
    expect([file.header.tokenizerJson, file.header.tokenizerKind]).toEqual([null, null]);
  });

  it("keeps a tokenizer beyond the first read of 64 KiB", async () => {
    const tokenizerJson = JSON.stringify({ vocab: "é".repeat(300_000) });
    const { file } = await openTinyModel(tinySpec({ tokenizerJson }));
    expect(file.header.tokenizerJson).toBe(tokenizerJson);
    expect(file.header.metadata.get("tokenizer.huggingface.json")).toMatch(/… \(300012 characters\)$/);
  });

  it("knows OPT-350M's form: projections, no final norm, norms without weights, an own head", async () => {
    const geometry = tinyGeometry({
      ...{ word_embed_proj_dim: 12, do_layer_norm_before: false, layer_norm_elementwise_affine: false },
      ...{ enable_bias: false, tie_word_embeddings: false, bos_token_id: null, eos_token_id: null },
    });
    const { file } = await openTinyModel(tinySpec({ geometry }));
    expect(file.header.geometry).toEqual(geometry);
    const shapes = [...file.header.tensors.values()].filter(({ name }) => !name.startsWith("blk.1."));
    expect(shapes.map(({ name, rows, cols }) => `${name} ${rows}x${cols}`)).toEqual([
      "token_embd.weight 11x12",
      "position_embd.weight 8x20",
      "project_in.weight 20x12",
      "blk.0.attn_q.weight 20x20",
      "blk.0.attn_k.weight 20x20",
      "blk.0.attn_v.weight 20x20",
      "blk.0.attn_output.weight 20x20",
      "project_out.weight 12x20",
      "output.weight 11x12",
    ]);
  });

  it("has the same fingerprint for every dtype, layout and stride, and another for another source", async () => {
    const fingerprints = new Set<string>();
    for (const [dtype, layout] of variants) {
      fingerprints.add((await openTinyModel(tinySpec({ dtype, layout }))).file.header.fingerprint);
    }
    fingerprints.add((await openTinyModel(tinySpec({ strideBytes: 1024 }))).file.header.fingerprint);
    expect(fingerprints.size).toBe(1);

    const sink = memorySink();
    const spec = tinySpec();
    const writer = await createModelWriter(sink, spec);
    const changed: ModelWriter = Object.create(writer, {
      residentTensors: { value: writer.residentTensors },
      isComplete: { value: (name: string) => writer.isComplete(name) },
      writeRows: { value: (name: string, rows: Float32Array) => writer.writeRows(name, rows) },
      writeNeurons: { value: writer.writeNeurons.bind(writer) },
      complete: { value: (name: string, crc: number) => writer.complete(name, name === "blk.1.ffn" ? crc ^ 1 : crc) },
    });
    await writeTinyParts(changed, spec);
    expect(fingerprints.has((await writer.finish()).fingerprint)).toBe(false);
  });
});

describe("values that a dtype cannot hold", () => {
  const cases: [PlainDType, number, RegExp][] = [
    ["f16", 65520, /row 9, column 3: 65520 is beyond the range of f16; convert with --dtype bf16 or f32/],
    ["f16", -1e6, /-1000000 is beyond the range of f16/],
    ["bf16", 3.4e38, /beyond the range of bf16; convert with --dtype f32/],
    ["f32", Number.NaN, /expected a finite number, found NaN; the checkpoint is damaged/],
    ["f16", Number.NaN, /found NaN/],
    ["bf16", Number.POSITIVE_INFINITY, /found Infinity/],
    ["int8", Number.NEGATIVE_INFINITY, /found -Infinity/],
    ["int8", Number.NaN, /found NaN/],
    ["int8", 3.4028234e38, /beyond the range of int8/],
  ];
  it.each(cases)("%s refuses %d in a resident matrix, naming it", async (dtype, value, message) => {
    const writer = await createModelWriter(memorySink(), tinySpec({ dtype }));
    const name = "token_embd.weight";
    await writer.writeRows(name, tinyRows(name, 0, 8, 20));
    const rows = tinyRows(name, 8, 3, 20);
    rows[20 + 3] = value;
    const error = await errorOf(writer.writeRows(name, rows));
    expect(error.code).toBe("CHECKPOINT_TENSOR_VALUE");
    expect(error.message).toMatch(message);
    expect(error.details).toMatchObject({ tensor: name, row: 9, column: 3 });
  });

  it("names matrix, row and column in a record", async () => {
    const writer = await createModelWriter(memorySink(), tinySpec());
    const up = tinyRows("up", 0, 5, 20);
    const down = tinyRows("down", 0, 5, 20);
    down[4 * 20 + 19] = 1e5;
    const error = await errorOf(writer.writeNeurons(1, 0, { up, down }));
    expect(error.code).toBe("CHECKPOINT_TENSOR_VALUE");
    expect(error.message).toMatch(/^blk\.1\.ffn_down\.weight, row 19, column 4: 100000 is beyond the range of f16/);
  });

  it("takes the largest half, subnormals and signed zeros as they are", async () => {
    const writer = await createModelWriter(memorySink(), tinySpec({ geometry: { ...TINY_GEOMETRY, vocabSize: 1 } }));
    const values = [65504, -65504, 65519, 2 ** -24, 2 ** -14, -0, 0, 2 ** -26];
    const row = Float32Array.from({ length: 20 }, (_, i) => values[i] ?? 0);
    await expect(writer.writeRows("token_embd.weight", row)).resolves.toBeUndefined();
  });

  it("norms and biases are f32 whatever the dtype", async () => {
    const { file } = await openTinyModel(tinySpec({ dtype: "int8" }));
    expect(file.header.tensors.get("blk.0.ffn_up.bias")).toMatchObject({
      dtype: "f32",
      rows: 1,
      cols: 7,
      scales: null,
    });
    const norm = await readNumbers(file, "blk.1.attn_norm.weight");
    expect(norm[3]).toBe(tinyWeight("blk.1.attn_norm.weight", 0, 3));
  });
});

describe("int8 rows", () => {
  it("are within half a step of the weights, for rows of any magnitude", async () => {
    const geometry = { ...TINY_GEOMETRY, vocabSize: 1 };
    const finite = fc.float({ noNaN: true, min: -(2 ** 127), max: 2 ** 127 });
    await fc.assert(
      fc.asyncProperty(fc.array(finite, { minLength: 20, maxLength: 20 }), async (values) => {
        const sink = memorySink();
        const spec = tinySpec({ dtype: "int8", geometry });
        const writer = await createModelWriter(sink, spec);
        await writer.writeRows("token_embd.weight", Float32Array.from(values));
        await writer.complete("token_embd.weight", 0);
        await writeTinyParts(writer, spec);
        await writer.finish();
        const file = await openModelFile(memorySource(sink.committed!));
        const most = Math.max(...values.map(Math.abs));
        // Half a step, and the rounding of the scale itself: one part in 2^24, or half the least subnormal, 127 times over.
        const tolerance = most / 127 / 2 + most * 2 ** -23 + 64 * 2 ** -149;
        expectClose(await readNumbers(file, "token_embd.weight"), Float32Array.from(values), tolerance);
      }),
      { numRuns: 30 },
    );
  });
});

/** A sink that fails on its n-th write. */
function failingSink(code: "IO_NO_SPACE" | "IO_WRITE", failingWrite: number) {
  const inner = memorySink("full.gguf");
  let writes = 0;
  const state = { abandoned: 0, writesAfterFailure: 0 };
  const sink: ByteSink = {
    ...inner,
    async write(bytes, offset) {
      if (writes > failingWrite) state.writesAfterFailure++;
      if (writes++ === failingWrite) throw new IoError(code, "full.gguf: no space left on the device");
      await inner.write(bytes, offset);
    },
    async abandon() {
      state.abandoned++;
      await inner.abandon();
    },
  };
  return { sink, state, inner };
}

describe("a full disk", () => {
  it.each([0, 1, 7, 30, 60])(
    "on write %i is an error, and the sink is abandoned and left alone",
    async (failingWrite) => {
      const { sink, state, inner } = failingSink("IO_NO_SPACE", failingWrite);
      const error = await errorOf(writeTinyModel(sink));
      expect(error.code).toBe("IO_NO_SPACE");
      expect(state).toEqual({ abandoned: 1, writesAfterFailure: 0 });
      expect(inner.committed).toBeNull();
    },
  );
});

describe("an interrupted writing", () => {
  /** Stops after so many parts, as a killed process does. */
  async function crashAfter(
    sink: ByteSink,
    journal: ReturnType<typeof memoryJournal>,
    parts: number,
    spec = tinySpec(),
  ) {
    const writer = await createModelWriter(sink, spec, { journal, sourceIdentity: "a" });
    let left = parts;
    const dying: ModelWriter = {
      residentTensors: writer.residentTensors,
      loss: null,
      isComplete: (name) => writer.isComplete(name),
      writeRows: (name, rows) => writer.writeRows(name, rows),
      writeNeurons: (...args) => writer.writeNeurons(...args),
      writeColumns: (...args) => writer.writeColumns(...args),
      writeExpertRows: (...args) => writer.writeExpertRows(...args),
      writeExpertBytes: (...args) => writer.writeExpertBytes(...args),
      async complete(name, crc) {
        if (left-- === 0) throw new Error("killed");
        await writer.complete(name, crc);
      },
      finish: () => writer.finish(),
      abandon: () => writer.abandon(),
      suspend: () => writer.suspend(),
    };
    await expect(writeTinyParts(dying, spec)).rejects.toThrow("killed");
  }

  async function completeParts(writer: ModelWriter): Promise<number> {
    const names = [...writer.residentTensors.map(({ name }) => name), "blk.0.ffn", "blk.1.ffn"];
    return names.filter((name) => writer.isComplete(name)).length;
  }

  it.each([0, 1, 5, 32, 33])("goes on after %i finished parts and ends in the same bytes", async (parts) => {
    const expected = await tinyModelBytes();
    const sink = memorySink();
    const journal = memoryJournal();
    await crashAfter(sink, journal, parts);
    const writer = await createModelWriter(sink, tinySpec(), { journal, sourceIdentity: "a" });
    expect(await completeParts(writer)).toBe(parts);
    await writeTinyParts(writer, tinySpec());
    await writer.finish();
    expectSameBytes(sink.committed, expected);
  });

  it.each(variants)("trusts a finished part only if its bytes are whole (%s, %s)", async (dtype, layout) => {
    const spec = tinySpec({ dtype, layout });
    const header = (await openTinyModel(spec)).file.header;
    const sink = memorySink();
    const journal = memoryJournal();
    await crashAfter(sink, journal, 33, spec);
    // One flipped bit in an embedding, and one in a record of layer 0.
    for (const offset of [header.tensors.get("token_embd.weight")!.offset + 5, header.records[0]!.offset + 3]) {
      const byte = new Uint8Array(1);
      await sink.read(byte, offset);
      byte[0]! ^= 4;
      await sink.write(byte, offset);
    }
    const writer = await createModelWriter(sink, spec, { journal, sourceIdentity: "a" });
    expect(await completeParts(writer)).toBe(31);
    expect(writer.isComplete("token_embd.weight")).toBe(false);
    expect(writer.isComplete("blk.0.ffn")).toBe(false);
    await writeTinyParts(writer, spec);
    await writer.finish();
    expectSameBytes(sink.committed, await tinyModelBytes(spec));
  });

  it.each([
    ["another dtype", tinySpec({ dtype: "bf16" }), "a"],
    ["another stride", tinySpec({ strideBytes: 1024 }), "a"],
    ["another source", tinySpec(), "b"],
  ])("starts anew for %s", async (_, spec, sourceIdentity) => {
    const sink = memorySink();
    const journal = memoryJournal();
    await crashAfter(sink, journal, 10);
    const writer = await createModelWriter(sink, spec, { journal, sourceIdentity });
    expect(await completeParts(writer)).toBe(0);
    expect(await journal.entries()).toHaveLength(1);
  });

  it("passes over a torn last line and lines of nonsense", async () => {
    const sink = memorySink();
    const journal = memoryJournal();
    await crashAfter(sink, journal, 3);
    for (const line of ['{"name":"blk.0.attn_q.wei', "null", "7", '{"name":"nowhere","sourceCrc32c":1,"crcs":[1]}']) {
      await journal.append(line);
    }
    const writer = await createModelWriter(sink, tinySpec(), { journal, sourceIdentity: "a" });
    expect(await completeParts(writer)).toBe(3);
  });
});

describe("misuse is a bug, not an error of the world", () => {
  it.each<[string, (writer: ModelWriter) => Promise<unknown>]>([
    ["finish before all is complete", (writer) => writer.finish()],
    ["complete before all rows are written", (writer) => partial(writer)],
    ["rows of a tensor that is not there", (writer) => writer.writeRows("blk.9.attn_q.weight", new Float32Array(20))],
    ["half a row", (writer) => writer.writeRows("token_embd.weight", new Float32Array(10))],
    ["too many rows", (writer) => writer.writeRows("token_embd.weight", new Float32Array(20 * 12))],
    [
      "neurons out of order",
      (writer) => writer.writeNeurons(0, 3, { up: new Float32Array(20), down: new Float32Array(20) }),
    ],
  ])("%s", async (_, misuse) => {
    const writer = await createModelWriter(memorySink(), tinySpec());
    await expect(misuse(writer)).rejects.toThrow("flashwick bug");
  });

  async function partial(writer: ModelWriter): Promise<void> {
    await writer.writeRows("token_embd.weight", new Float32Array(20));
    await writer.complete("token_embd.weight", 0);
  }
});

describe("a composition", () => {
  const [layer] = TINY_GEOMETRY.layers;
  const rms: NormGeometry = { kind: "rms", epsilon: 1e-6, weight: true, bias: false };
  const scaling: RotaryScaling = { kind: "factors", factors: [1.5] };

  it("comes back as it was: gated, heads wider than the model, two kinds of layers, every part", async () => {
    const attention: AttentionGeometry = {
      ...{ nHeads: 3, nKvHeads: 1, headDim: 10, scale: 0.3, alibi: false, windowTokens: 4 },
      biases: { query: true, key: false, value: true, output: false },
      queryKeyNorm: { norm: rms, over: "width" },
      rotary: { theta: 1e6, dims: 2, pairs: "neighbours", scaling },
    };
    const ffn: FfnGeometry = {
      ...{ dFf: 7, gated: true, activation: "fatrelu", threshold: 0.01, upActivation: "none" },
      biases: { gate: true, up: false, down: true },
    };
    const sandwich = {
      ...{ beforeAttention: rms, afterAttention: rms, attentionSum: null },
      ...{ beforeFfn: rms, afterFfn: rms, ffnSum: null },
    };
    const other: LayerGeometry = { attention, ffn, norms: sandwich, parallel: false };
    const wide: LayerGeometry = { ...other, ffn: { ...ffn, dFf: 9, activation: "swiglu-clamped", threshold: 0 } };
    const geometry: ModelGeometry = {
      ...TINY_GEOMETRY,
      architecture: "gemma3",
      embedding: { dim: 20, scale: Math.fround(Math.sqrt(20)), positions: null },
      layers: [other, wide, structuredClone(other)],
      finalNorm: rms,
      head: { tied: false, bias: true },
    };
    const { file } = await openTinyModel(tinySpec({ geometry }));
    const read = file.header.geometry;
    expect(read).toEqual(geometry);
    expect(read.layers[0]).toBe(read.layers[2]);
    const shapes = [...file.header.tensors.values()].filter(({ name }) => /^(blk\.0|output)/.test(name));
    expect(shapes.map(({ name, rows, cols }) => `${name} ${rows}x${cols}`)).toEqual([
      ...["blk.0.attn_norm.weight 1x20", "blk.0.post_attention_norm.weight 1x20"],
      ...["blk.0.attn_q.weight 30x20", "blk.0.attn_q.bias 1x30", "blk.0.attn_k.weight 10x20"],
      ...["blk.0.attn_v.weight 10x20", "blk.0.attn_v.bias 1x10"],
      ...["blk.0.attn_q_norm.weight 1x30", "blk.0.attn_k_norm.weight 1x10", "blk.0.attn_output.weight 20x30"],
      ...["blk.0.ffn_norm.weight 1x20", "blk.0.post_ffw_norm.weight 1x20"],
      ...["blk.0.ffn_gate.bias 1x7", "blk.0.ffn_down.bias 1x20"],
      ...["output_norm.weight 1x20", "output.weight 11x20", "output.bias 1x11"],
    ]);
    expect(recordLayout(file.header).parts.map(({ role }) => role)).toEqual(["gate", "up", "down"]);
  });

  it("says the same whatever the order of its keys", async () => {
    const turned = { ...TINY_GEOMETRY, layers: TINY_GEOMETRY.layers.map(({ ffn, ...rest }) => ({ ...rest, ffn })) };
    const bytes = async (geometry: ModelGeometry) => (await openTinyModel(tinySpec({ geometry }))).bytes;
    expect(await bytes(turned)).toEqual(await bytes(TINY_GEOMETRY));
    expect(turned.layers[0]).not.toBe(layer);
  });
});

describe("a geometry that could not be read back", () => {
  const layer = TINY_GEOMETRY.layers[0]!;
  const attention = (change: Partial<AttentionGeometry>) => ({
    layers: [{ ...layer, attention: { ...layer.attention, ...change } }],
  });
  const norms = (change: Partial<LayerNorms>) => ({ layers: [{ ...layer, norms: { ...layer.norms, ...change } }] });
  const ffn = (change: Partial<FfnGeometry>) => ({ ...layer, ffn: { ...layer.ffn, ...change } });
  const norm = layer.norms.beforeFfn!;
  const turned = (dims: number) => ({ theta: 10_000, dims, pairs: "neighbours" as const, scaling: null });

  it.each([
    ["no layers", { layers: [] }, "FORMAT_INVALID"],
    ["a width of 2^21", { layers: [ffn({ dFf: 2 ** 21 })] }, "FORMAT_INVALID"],
    ["five KV heads of four", attention({ nKvHeads: 5 }), "FORMAT_INVALID"],
    ["an epsilon of zero", norms({ beforeFfn: { ...norm, epsilon: 0 } }), "FORMAT_INVALID"],
    ["norms before and of the sum", norms({ ffnSum: norm }), "FORMAT_INVALID"],
    ["a rotation of three dimensions", attention({ rotary: turned(3) }), "FORMAT_INVALID"],
    [
      "a clamped SwiGLU whose up projection goes through relu",
      { layers: [ffn({ gated: true, activation: "swiglu-clamped", upActivation: "relu" })] },
      "FORMAT_INVALID",
    ],
    ["a gate in one layer of two", { layers: [layer, ffn({ gated: true })] }, "UNSUPPORTED_FEATURE"],
  ])("%s is refused before anything is written", async (_, changes, code) => {
    const { sink, state } = failingSink("IO_WRITE", 0);
    const geometry = { ...TINY_GEOMETRY, ...changes };
    expect((await errorOf(createModelWriter(sink, tinySpec({ geometry })))).code).toBe(code);
    expect(state.abandoned).toBe(0);
  });
});
