import { isFlashwickError, memorySource, type Predictor, type PredictorMatrix, rowBytes } from "@flashwick/core";
import { beforeAll, describe, expect, it } from "vitest";
import { readFileKind } from "./container.js";
import type { GgufValue } from "./gguf.js";
import { memorySink } from "./memory-sink.js";
import { readPredictorFile, readPredictorHeader, writePredictorFile } from "./predictor-file.js";
import { openModelFile } from "./read-model.js";
import { openTinyModel, tinyModelBytes, withEditedHeader } from "./tiny-model.fixture.js";
import { verifyPredictorFile } from "./verify.js";

function matrix(dtype: PredictorMatrix["dtype"], rows: number, cols: number): PredictorMatrix {
  const data = Uint8Array.from({ length: rows * rowBytes(dtype, cols) }, (_, i) => (i * 7) % 61);
  const scales = dtype === "int8" ? Float32Array.from({ length: rows }, (_, i) => (i + 1) / 64) : null;
  return { dtype, rows, cols, data, scales };
}

function makePredictor(dtypes: readonly PredictorMatrix["dtype"][]): Predictor {
  const layers = dtypes.map((dtype, layer) => {
    const rank = 3 + layer;
    return {
      layer,
      rank,
      threshold: layer === 0 ? Number.NEGATIVE_INFINITY : -0.125 - layer / 3,
      trueActiveShare: 0.04,
      namedShare: 0.07,
      recall: 0.99,
      precision: 0.5,
      missedMass: 0.0013,
      w1: matrix(dtype, rank, 20),
      w2: matrix(dtype, 7, rank),
    };
  });
  return {
    modelFingerprint: "5a".repeat(32),
    dModel: 20,
    dFf: 7,
    layers,
    sparsity: null,
    training: { tokens: 1000, seed: 1, note: "é" },
  };
}

const PREDICTOR = makePredictor(["f16", "int8", "f32"]);

async function bytesOf(predictor: Predictor): Promise<Uint8Array> {
  const sink = memorySink();
  await writePredictorFile(sink, predictor);
  return sink.committed!;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "none";
  } catch (error) {
    if (isFlashwickError(error)) return error.code;
    throw error;
  }
}

const read = (bytes: Uint8Array) => readPredictorFile(memorySource(bytes, "tiny.predictor.gguf"));

let good: Uint8Array;
beforeAll(async () => {
  good = await bytesOf(PREDICTOR);
});

describe("a predictor file", () => {
  it("gives the predictor back: matrices of every dtype, figures to the last bit, training facts", async () => {
    expect(await read(good)).toEqual(PREDICTOR);
  });

  it("gives blocks back, W1 and W2 of different types", async () => {
    const [first] = PREDICTOR.layers;
    const layer = { ...first!, rank: 32, w1: matrix("q8_0", 32, 64), w2: matrix("q4_0", 7, 32) };
    const predictor = { ...PREDICTOR, dModel: 64, layers: [layer] };
    const bytes = await bytesOf(predictor);
    expect(await read(bytes)).toEqual(predictor);
    const { layers, weightBytes } = await readPredictorHeader(memorySource(bytes));
    expect([layers[0]!.w1.dtype, layers[0]!.w2.dtype]).toEqual(["q8_0", "q4_0"]);
    expect(weightBytes).toBe(32 * 2 * 34 + 7 * 18);
  });

  it("shows its figures without reading the weights", async () => {
    let readBytes = 0;
    const inner = memorySource(good);
    const header = await readPredictorHeader({
      ...inner,
      sizeBytes: good.length,
      read(target, offset) {
        readBytes += target.length;
        return inner.read(target, offset);
      },
    });
    expect(readBytes).toBeLessThanOrEqual(65536);
    expect(header).toMatchObject({ modelFingerprint: PREDICTOR.modelFingerprint, dModel: 20, dFf: 7 });
    expect(header.layers[2]).toEqual({
      layer: 2,
      rank: 5,
      threshold: -0.125 - 2 / 3,
      trueActiveShare: 0.04,
      namedShare: 0.07,
      recall: 0.99,
      precision: 0.5,
      missedMass: 0.0013,
      w1: { dtype: "f32", rows: 5, cols: 20 },
      w2: { dtype: "f32", rows: 7, cols: 5 },
    });
    const weights = PREDICTOR.layers.flatMap(({ w1, w2 }) => [w1, w2]);
    const bytes = weights.reduce((sum, { data, scales }) => sum + data.length + (scales?.byteLength ?? 0), 0);
    expect(header.weightBytes).toBe(bytes);
    expect(header.fileBytes).toBe(good.length);
  });

  it("of layers that differ in width gives them back, and says so in its header alone where they do", async () => {
    const key = "flashwick.predictor.feed_forward_lengths";
    const layers = PREDICTOR.layers.map((layer, i) => ({
      ...layer,
      w2: matrix(layer.w2.dtype, 7 - 2 * i, layer.rank),
    }));
    const bytes = await bytesOf({ ...PREDICTOR, layers });
    expect(await read(bytes)).toEqual({ ...PREDICTOR, layers });
    expect((await readPredictorHeader(memorySource(bytes))).metadata.get(key)).toEqual([7, 5, 3]);
    expect((await readPredictorHeader(memorySource(good))).metadata.has(key)).toBe(false);
    const widths = (...value: number[]): GgufValue => ({ type: "array", of: "u32", value: Uint32Array.from(value) });
    for (const wrong of [widths(7, 5), widths(7, 5, 0), widths(6, 5, 3), widths(8, 5, 3), widths(7, 4, 3)]) {
      const edited = withEditedHeader(bytes, ({ metadata }) => metadata.set(key, wrong));
      expect(await codeOf(read(edited))).toBe("FORMAT_INVALID");
    }
  });

  it("is not taken for a model, nor a model for a predictor", async () => {
    const model = await tinyModelBytes();
    expect(await readFileKind(memorySource(good))).toBe("predictor");
    expect(await readFileKind(memorySource(model))).toBe("model");
    await expect(openModelFile(memorySource(good))).rejects.toThrow(/expected a model file .* found a predictor file/);
    await expect(read(model)).rejects.toThrow(/expected a predictor file .* found a model file/);
  });

  it("leaves nothing behind when the sink fails", async () => {
    const inner = memorySink();
    let abandoned = false;
    const sink = {
      ...inner,
      commit: async () => {
        throw new Error("full");
      },
      abandon: async () => {
        abandoned = true;
      },
    };
    await expect(writePredictorFile(sink, PREDICTOR)).rejects.toThrow("full");
    expect(abandoned).toBe(true);
  });

  it("refuses to write a predictor whose shapes do not fit together", async () => {
    const [first] = PREDICTOR.layers;
    const wrong = { ...PREDICTOR, layers: [{ ...first!, w2: matrix("f16", 8, 3) }] };
    await expect(bytesOf(wrong)).rejects.toThrow("flashwick bug");
    await expect(bytesOf({ ...PREDICTOR, layers: PREDICTOR.layers.slice(1) })).rejects.toThrow("flashwick bug");
    await expect(bytesOf({ ...PREDICTOR, modelFingerprint: "abc" })).rejects.toThrow("flashwick bug");
  });
});

describe("a damaged predictor file", () => {
  it("is a typed error for a flipped bit in every byte of the header and of the weights", async () => {
    const { layers } = PREDICTOR;
    const bytes = good.slice();
    const header = await readPredictorHeader(memorySource(good));
    expect(header.layers).toHaveLength(layers.length);
    for (let at = 0; at < bytes.length; at++) {
      // Padding is no one's; verify looks at it.
      if (good[at] === 0) continue;
      bytes[at]! ^= 2;
      expect(await codeOf(read(bytes)), `byte ${at}`).toMatch(/^(FORMAT_|INTEGRITY_)/);
      bytes[at]! ^= 2;
    }
  });

  it("is FORMAT_TRUNCATED when cut", async () => {
    for (const size of [0, 10, 500, 4096, good.length - 1]) {
      expect(await codeOf(read(good.slice(0, size)))).toBe("FORMAT_TRUNCATED");
    }
  });

  it("is found by verify, padding included", async () => {
    const bytes = good.slice();
    expect(await verifyPredictorFile(memorySource(bytes))).toMatchObject({ ok: true, bytesChecked: bytes.length });
    bytes[bytes.length - 1] = 1;
    expect(await verifyPredictorFile(memorySource(bytes))).toMatchObject({ ok: false, bad: [{ kind: "padding" }] });
  });

  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const f64s = (...values: number[]): GgufValue => ({ type: "array", of: "f64", value: Float64Array.from(values) });
  it.each<[string, GgufValue, string]>([
    ["flashwick.predictor.model_fingerprint", { type: "string", value: "A".repeat(64) }, "FORMAT_INVALID"],
    ["flashwick.predictor.block_count", u32(4), "FORMAT_INVALID"],
    ["flashwick.predictor.block_count", u32(2 ** 32 - 1), "FORMAT_INVALID"],
    ["flashwick.predictor.embedding_length", u32(21), "FORMAT_INVALID"],
    ["flashwick.predictor.feed_forward_length", u32(8), "FORMAT_INVALID"],
    ["flashwick.predictor.rank", { type: "array", of: "u32", value: Uint32Array.of(3, 4, 0) }, "FORMAT_INVALID"],
    ["flashwick.predictor.rank", { type: "array", of: "u32", value: Uint32Array.of(3, 4, 6) }, "FORMAT_INVALID"],
    ["flashwick.predictor.threshold", f64s(0, Number.NaN, 0), "FORMAT_INVALID"],
    ["flashwick.predictor.recall", f64s(0), "FORMAT_INVALID"],
    ["flashwick.predictor.training", { type: "string", value: "{" }, "FORMAT_INVALID"],
    ["flashwick.predictor.training", { type: "string", value: "[1]" }, "FORMAT_INVALID"],
  ])("is refused for %s = %o, though its checksum is right", async (key, value, code) => {
    expect(await codeOf(read(withEditedHeader(good, ({ metadata }) => metadata.set(key, value))))).toBe(code);
    expect(await codeOf(read(withEditedHeader(good, ({ metadata }) => metadata.delete(key))))).toBe("FORMAT_MISSING");
  });

  it("is refused for a tensor that is missing or of a type that predictors do not have", async () => {
    const rename = withEditedHeader(good, ({ tensors }) => (tensors[1] = { ...tensors[1]!, name: "x" }));
    expect(await codeOf(read(rename))).toBe("FORMAT_MISSING");
    const retype = withEditedHeader(good, ({ tensors }) => (tensors[0] = { ...tensors[0]!, type: "BF16" }));
    expect(await codeOf(read(retype))).toBe("FORMAT_INVALID");
  });
});

describe("a model's fingerprint", () => {
  it("has the form that a predictor names", async () => {
    const { file } = await openTinyModel();
    expect(await codeOf(bytesOf({ ...PREDICTOR, modelFingerprint: file.header.fingerprint }))).toBe("none");
  });
});
