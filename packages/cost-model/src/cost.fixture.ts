/** Test support: a small model, and devices that make sense. */
import type { SparsityStatistics } from "@flashwick/core";
import fc from "fast-check";
import type { DeviceProfile } from "./device-profile.js";
import type { ModelShape, RowStream } from "./model-shape.js";
import type { EngineSettings } from "./pass-request.js";
import { denseSparsity, powerLawLayer, UNION_TOKENS } from "./sparsity.js";

export const shape: ModelShape = {
  name: "small",
  nLayers: 4,
  dModel: 1024,
  dFf: 4096,
  nKvHeads: 16,
  headDim: 64,
  dtype: "f16",
  attentionTypes: [{ dtype: "f16", share: 1 }],
  ffnTypes: [{ dtype: "f16", share: 1 }],
  headDtype: "f16",
  rowStream: null,
  attentionBytes: 8 * 1024 * 1024,
  headBytes: 8 * 1024 * 1024,
  rowTableBytes: 0,
  recordBytes: 4096,
  strideBytes: 4096,
  readsPerNeuron: 1,
  parallelBlock: false,
  predictor: {
    typesByLayer: new Array(4).fill([{ dtype: "int8", share: 1 }]),
    bytesByLayer: [400_000, 400_000, 400_000, 400_000],
  },
};

/** The same weights in matrices: attention's four, then up and down. */
export const rowStream: RowStream = {
  bytesPerNeuron: 6144,
  isChecked: true,
  layers: [0, 1, 2, 3].map(() => ({
    neurons: 4096,
    matrices: [
      ...[1, 2, 3, 4].map(() => ({ rows: 1024, rowBytes: 2048 })),
      { rows: 4096, rowBytes: 2048 },
      { rows: 1024, rowBytes: 8192 },
    ],
  })),
};

/** Of a sparse run, each read by itself. */
export const settings: EngineSettings = {
  mode: "predicted",
  windowTokens: Number.POSITIVE_INFINITY,
  threads: 2,
  readers: 16,
  mergeGapBytes: 0,
  overlap: false,
};

const SIZES = [4096, 16384, 65536];
const DEPTHS = [1, 4, 16];

/** T[size, depth] of a device with an operation, a bandwidth and so many reads at once. */
export function deviceProfile(device: {
  readonly operationUs?: number;
  readonly bandwidth?: number;
  readonly parallel?: number;
  readonly kernelBytesPerSec?: number;
}): DeviceProfile {
  const { operationUs = 80, bandwidth = 2e9, parallel = 8, kernelBytesPerSec = 15e9 } = device;
  const reads = DEPTHS.flatMap((depth) =>
    SIZES.map((sizeBytes) => {
      const seconds = operationUs / 1e6 / Math.min(depth, parallel) + sizeBytes / bandwidth;
      return { sizeBytes, depth, bytesPerSec: sizeBytes / seconds, spread: null };
    }),
  );
  const rate = (op: "linear" | "neurons" | "checksum" | "attention", factor: number) =>
    [1, 2].map((threads) => ({
      op,
      dtype: op === "checksum" ? null : ("f16" as const),
      threads,
      workingSetBytes: 2e8,
      bytesPerSec: kernelBytesPerSec * factor * (threads === 1 ? 1 : 1.7),
    }));
  return {
    schemaVersion: 2,
    name: "test",
    source: "made up for tests",
    cores: 2,
    flash: {
      mode: "direct",
      alignmentBytes: 512,
      sequentialBytesPerSec: bandwidth,
      reads,
      batches: [{ depth: 1, us: 30 }],
      pieceUs: 0.5,
      shareUnderCompute: 0.8,
      computeShareUnderReads: 0.8,
      pageCache: null,
      stream: null,
    },
    dramBytesPerSec: 30e9,
    kernels: [...rate("linear", 1), ...rate("neurons", 0.8), ...rate("checksum", 0.5), ...rate("attention", 0.7)],
    batch: [{ dtype: "f16", threads: 2, flopPerSec: 8e10 }],
    handOffUs: 2,
    opUs: 1,
    management: { nsPerNamed: 20, nsPerLoaded: 200, nsPerScore: 1, copyBytesPerSec: null },
  };
}

/** Any device in reason. */
export const devices = fc.record({
  operationUs: fc.double({ min: 1, max: 1000, noNaN: true }),
  bandwidth: fc.double({ min: 1e8, max: 1e10, noNaN: true }),
  parallel: fc.integer({ min: 1, max: 64 }),
  kernelBytesPerSec: fc.double({ min: 1e9, max: 1e11, noNaN: true }),
});

export function sparsityOf(named: readonly number[], exponent = 0.5): SparsityStatistics {
  return {
    ...denseSparsity(named.length),
    source: "made up for tests",
    unionTokens: UNION_TOKENS,
    layers: named.map((share) => powerLawLayer(share, exponent)),
    namedQuantiles: { p50: 0.95, p90: 1.3, p99: 1.7 },
  };
}

/** Any statistics that predictors give. */
export const sparsities = fc
  .record({
    named: fc.array(fc.double({ min: 0.005, max: 0.6, noNaN: true }), { minLength: 4, maxLength: 4 }),
    exponent: fc.double({ min: 0.1, max: 0.9, noNaN: true }),
  })
  .map(({ named, exponent }) => sparsityOf(named, exponent));
