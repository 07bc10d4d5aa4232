/** What lies beside a model: checksums of a foreign file, predictors, and moments of a text. */
import { memorySource, type Predictor, type PredictorMatrix } from "@flashwick/core";
import {
  type ModelFile,
  memorySink,
  openModelFile,
  openMomentsFile,
  openPredictorFile,
  readChecksumHeader,
  readPredictorHeader,
  triangleLength,
  withChecksums,
  writeChecksumFile,
  writeMomentsFile,
  writePredictorFile,
} from "@flashwick/flash-format";
import { claimedSource } from "../claimed-source.js";
import { choiceOf, type Harness } from "../harness.js";
import { fixture } from "../repository-files.js";
import { seal } from "../sealed-header.js";

const MiB = 2 ** 20;
const LIMITS = { ms: 500, growthBytes: 32 * MiB };

let foreign: Promise<ModelFile> | null = null;
const foreignModel = () => (foreign ??= openModelFile(memorySource(fixture("gguf/olmoe.gguf"), "olmoe.gguf")));

/** Checksums beside a model of llama.cpp's. */
export const checksumFile: Harness = {
  name: "checksum-file",
  form: "gguf",
  words: [
    "flashwick.checksums.group_bytes",
    "flashwick.checksums.model_bytes",
    "flashwick.kind",
    "checksums",
    "crc32c",
  ],
  maxBytes: 16 * 1024,
  limits: LIMITS,
  async seeds() {
    const sink = memorySink("olmoe.crc32c.gguf");
    await writeChecksumFile(sink, await foreignModel());
    return [sink.committed!.slice()];
  },
  async read(input) {
    const { bytes, fileBytes } = choiceOf(input, 8) === 0 ? { bytes: input, fileBytes: null } : seal(input);
    const source = claimedSource(bytes, fileBytes ?? bytes.length, "olmoe.crc32c.gguf");
    await readChecksumHeader(source);
    await withChecksums(await foreignModel(), source);
  },
};

const D_MODEL = 8;
const D_FF = 16;

function matrix(dtype: "f16" | "int8", rows: number, cols: number): PredictorMatrix {
  const bytes = dtype === "int8" ? 1 : 2;
  const scales = dtype === "int8" ? new Float32Array(rows) : null;
  return { dtype, rows, cols, data: new Uint8Array(rows * cols * bytes), scales };
}

function predictorOf(dtype: "f16" | "int8"): Predictor {
  const quality = {
    rank: 4,
    threshold: 0,
    trueActiveShare: 0.1,
    namedShare: 0.2,
    recall: 0.9,
    precision: 0.5,
    missedMass: 0.1,
  };
  const layers = [0, 1].map((layer) => ({
    ...quality,
    layer,
    w1: matrix(dtype, 4, D_MODEL),
    w2: matrix(dtype, D_FF, 4),
  }));
  const shares = { activeShare: 0.1, unionShare: [0.2, 0.3], freshShare: [0.1, 0.05], unevenness: 0.5 };
  return {
    modelFingerprint: "ab".repeat(32),
    ...{ dModel: D_MODEL, dFf: D_FF, layers },
    sparsity: {
      ...{ source: "made", unionTokens: [1, 2], layers: [shares, shares], clumping: 1 },
      namedQuantiles: { p50: 1, p90: 2, p99: 3 },
    },
    training: { tokens: 10, seed: 1 },
  };
}

/** A readable file has its weights: what the header only claims is not read. */
const MOST_READ_BYTES = MiB;

/** A predictor. */
export const predictorFile: Harness = {
  name: "predictor-file",
  form: "gguf",
  words: [
    ...[
      "flashwick.predictor.rank",
      "flashwick.predictor.sparsity",
      "flashwick.predictor.training",
      "predictor",
      "{}",
      "[]",
    ],
    ...[
      '{"source":"x","unionTokens":[1],"layers":[null,null],"clumping":null,"namedQuantiles":null}',
      "null",
      '{"layers":{}}',
    ],
    ...["blk.0.predictor_w1", "blk.1.predictor_w2", "blk.0.predictor_w1.scale", "flashwick.predictor.threshold"],
    `{"a":${"[".repeat(9000)}${"]".repeat(9000)}}`,
  ],
  maxBytes: 40 * 1024,
  limits: LIMITS,
  async seeds() {
    const sinks = (["f16", "int8"] as const).map(async (dtype) => {
      const sink = memorySink("model.predictor.gguf");
      await writePredictorFile(sink, predictorOf(dtype));
      return sink.committed!.slice();
    });
    return await Promise.all(sinks);
  },
  async read(input) {
    const { bytes, fileBytes } = choiceOf(input, 8) === 0 ? { bytes: input, fileBytes: null } : seal(input);
    const source = claimedSource(bytes, fileBytes ?? bytes.length, "model.predictor.gguf");
    await readPredictorHeader(source);
    const predictor = await openPredictorFile(source);
    if (source.sizeBytes <= MOST_READ_BYTES) await predictor.readLayer(0);
  },
};

/** Moments of a text. */
export const momentsFile: Harness = {
  name: "moments-file",
  form: "gguf",
  words: [
    ...["flashwick.moments.tokens", "flashwick.moments.block_count", "flashwick.moments.embedding_length", "moments"],
    ...["flashwick.moments.feed_forward_lengths", "blk.0.ffn_input.moments", "blk.1.ffn_act.moments"],
  ],
  maxBytes: 24 * 1024,
  limits: LIMITS,
  async seeds() {
    const sink = memorySink("model.moments.gguf");
    const header = { modelFingerprint: "ab".repeat(32), tokens: 9, dModel: D_MODEL, dFf: [D_FF, D_FF] };
    const layers = header.dFf.map((rows) => ({
      input: new Float32Array(triangleLength(D_MODEL)).fill(1),
      activation: new Float32Array(triangleLength(rows)).fill(0.5),
    }));
    await writeMomentsFile(sink, header, layers);
    return [sink.committed!.slice()];
  },
  async read(input) {
    const { bytes, fileBytes } = choiceOf(input, 8) === 0 ? { bytes: input, fileBytes: null } : seal(input);
    const source = claimedSource(bytes, fileBytes ?? bytes.length, "model.moments.gguf");
    const moments = await openMomentsFile(source);
    if (source.sizeBytes <= MOST_READ_BYTES) await moments.readLayer(0);
  },
};
