/** Test support: a small mixture, and routers of known locality. */
import fc from "fast-check";
import { deviceProfile, settings as sparseSettings } from "./cost.fixture.js";
import type { DeviceProfile } from "./device-profile.js";
import { type ExpertLocality, localityOf } from "./expert-locality.js";
import type { MemoryRequest } from "./memory-request.js";
import {
  type ExpertsShape,
  type MixtureLayer,
  type MixtureShape,
  meanExpert,
  residentFfnBytes,
} from "./mixture-shape.js";
import type { ModelShape } from "./model-shape.js";
import type { EngineSettings, TokenRequest } from "./pass-request.js";
import { denseSparsity } from "./sparsity.js";

/** One expert: 1 MB to compute with, in one record of as much. */
export const experts: ExpertsShape = {
  count: 16,
  chosen: 4,
  dFf: 256,
  weights: [{ dtype: "f16", bytes: 1e6 }],
  pieceBytes: [1e6],
  slotBytes: 1e6,
  router: { dtype: "f16", bytes: 60_000 },
};

/** With a shared expert of half a megabyte. */
export const layer: MixtureLayer = { experts, resident: [{ dtype: "f16", bytes: 5e5 }] };

export const mixture: MixtureShape = { layers: [layer, layer, layer] };

export function shapeWith(of: MixtureShape): ModelShape {
  return {
    name: "small mixture",
    nLayers: of.layers.length,
    dModel: 512,
    nKvHeads: 8,
    headDim: 64,
    dtype: "f16",
    attentionTypes: [{ dtype: "f16", share: 1 }],
    ffnTypes: [],
    headDtype: "f16",
    rowStream: null,
    attentionBytes: 2e6,
    headBytes: 4e6,
    rowTableBytes: 0,
    ...meanExpert(of),
    parallelBlock: false,
    predictor: null,
    mixture: of,
  };
}

export const settings: EngineSettings = { ...sparseSettings, mode: "dense", overlap: true };

/** Half of the experts that a token chooses are held, however many slots there are. */
export function halfHits(of: MixtureShape): ExpertLocality {
  const curve = (count: number) => Array.from({ length: count + 1 }, (_, s) => (s === 0 ? 0 : s === count ? 1 : 0.5));
  return { source: "made up", hitShareByLayer: of.layers.map(({ experts: e }) => e && curve(e.count)) };
}

export function tokenRequest(more: Partial<TokenRequest> = {}): TokenRequest {
  const shape = more.shape ?? shapeWith(mixture);
  return {
    shape,
    profile: deviceProfile({}),
    sparsity: denseSparsity(shape.nLayers),
    locality: localityOf(shape.mixture!),
    settings,
    slotsByLayer: shape.mixture!.layers.map(({ experts: e }) => (e ? 8 : 0)),
    kvPrecision: "f16",
    position: 100,
    seenTokens: 100,
    ...more,
  };
}

/** Nothing but bytes costs time: 1 GB/s for reads however many fly, 10 GB/s for weights. */
export function plainProfile(shares: number): DeviceProfile {
  const read = (sizeBytes: number, depth: number) => ({ sizeBytes, depth, bytesPerSec: 1e9, spread: null });
  const profile = deviceProfile({});
  return {
    ...profile,
    flash: {
      ...profile.flash,
      sequentialBytesPerSec: 1e9,
      reads: [4096, 2 ** 24].flatMap((size) => [1, 16].map((depth) => read(size, depth))),
      batches: [{ depth: 1, us: 0 }],
      shareUnderCompute: shares,
      computeShareUnderReads: shares,
    },
    kernels: [{ op: "linear", dtype: "f16", threads: 1, workingSetBytes: 1e8, bytesPerSec: 1e10 }],
    opUs: 0,
    handOffUs: 0,
    management: { nsPerNamed: 0, nsPerLoaded: 0, nsPerScore: 0, copyBytesPerSec: null },
  };
}

/** What a memory plan is asked for such a mixture. */
export function memoryOf(
  shape: ModelShape,
  budgetBytes: number | null,
  more: Partial<MemoryRequest> = {},
): MemoryRequest {
  const layers = shape.mixture!.layers;
  return {
    geometry: { layers: layers.map(() => ({ attention: shape, ffn: { dFf: 256 } })) },
    weights: { slotBytes: Math.max(...layers.map(({ experts: e }) => e?.slotBytes ?? 0)) },
    experts: {
      countByLayer: layers.map(({ experts: e }) => e?.count ?? 0),
      chosenByLayer: layers.map(({ experts: e }) => e?.chosen ?? 0),
      slotBytesByLayer: layers.map(({ experts: e }) => e?.slotBytes ?? 0),
    },
    residentBytes: shape.nLayers * shape.attentionBytes + residentFfnBytes(shape.mixture!) + shape.headBytes,
    rowTableBytes: shape.rowTableBytes,
    predictorBytes: 0,
    namedShareByLayer: null,
    contextTokens: 100,
    kvPrecision: "f16",
    activationBytes: (batch) => 10_000 + 5000 * batch,
    slotOverheadBytes: 48,
    cacheFixedBytes: 1000,
    readBufferBytes: 0,
    budgetBytes,
    ...more,
  };
}

const layers = fc
  .record({
    count: fc.integer({ min: 1, max: 40 }),
    chosenOf: fc.integer({ min: 1, max: 8 }),
    bytes: fc.integer({ min: 10_000, max: 20_000_000 }),
    pieces: fc.constantFrom(1, 3),
    sharedBytes: fc.nat(2_000_000),
    isDense: fc.boolean(),
  })
  .map(({ count, chosenOf, bytes, pieces, sharedBytes, isDense }): MixtureLayer => {
    const resident = sharedBytes === 0 ? [] : [{ dtype: "f16" as const, bytes: sharedBytes }];
    if (isDense) return { experts: null, resident };
    const pieceBytes = new Array<number>(pieces).fill(Math.ceil(bytes / pieces));
    const slotBytes = Math.ceil(bytes / pieces) * pieces;
    const chosen = Math.min(chosenOf, count);
    return {
      experts: { ...experts, count, chosen, weights: [{ dtype: "f16", bytes }], pieceBytes, slotBytes },
      resident,
    };
  });

/** Any mixture, of layers that differ, at least the first with experts. */
export const mixtures = fc
  .array(layers, { minLength: 1, maxLength: 5 })
  .map((of): MixtureShape => ({ layers: [layer, ...of] }));
