/**
 * What one decoded token costs, in closed form:
 *
 *     T = Σ_l [ T_attn + T_pred + T_cache(named, loaded) + exposed(Σ T[s, q]) + T_check(loaded) + T_ffn(named) ] + T_head
 *
 * exposed() is the whole of the reads, or where they overlap what of them outlasts the arithmetic that can be done meanwhile (resident
 * neurons; in a parallel block attention as well), both slowed by each other as the profile says.
 */
import type { DType, SparsityStatistics } from "@flashwick/core";
import type { DeviceProfile } from "./device-profile.js";
import { type KernelUse, kernelMs } from "./kernel-time.js";
import type { KvPrecision } from "./kv-bytes.js";
import { type MissingReads, missingReads, singleReads } from "./missing-reads.js";
import type { ModelShape } from "./model-shape.js";
import { batchMs, batchReadMs } from "./read-time.js";
import { type CacheUse, heldShare, missShare, namedShare } from "./sparsity.js";

/** What the engine can be told. */
export interface EngineSettings {
  /** `dense`: every neuron, layers streamed; `predicted`: what the predictor names. */
  readonly mode: "dense" | "predicted";
  /** Tokens whose neurons stay, the current one included; Infinity: as many as fit. */
  readonly windowTokens: number;
  readonly threads: number;
  /** Reads in flight; 0: the calling thread reads, through the page cache. */
  readonly readers: number;
  readonly mergeGapBytes: number;
  readonly overlap: boolean;
}

/** What an engine does as it does, whatever it is told. */
export interface EngineMethod {
  /** Arithmetic passes over all neurons that are held (LLM in a flash, 3.3: "all rows in use"); false: over the named ones. */
  readonly computesHeld: boolean;
  /** Neighbours among the missing neurons are one read; false: each record is a read of its own. */
  readonly joinsNeighbours: boolean;
}

const OUR_METHOD: EngineMethod = { computesHeld: false, joinsNeighbours: true };

export interface TokenRequest {
  readonly shape: ModelShape;
  readonly profile: DeviceProfile;
  readonly sparsity: SparsityStatistics;
  readonly settings: EngineSettings;
  readonly slotsByLayer: readonly number[];
  readonly kvPrecision: KvPrecision;
  /** Tokens before this one: keys and values to be read. */
  readonly position: number;
  /** Tokens that the neuron cache has seen. */
  readonly seenTokens: number;
  /** Default: this project's engine. */
  readonly method?: EngineMethod;
}

/** Milliseconds unless the name says otherwise. */
export interface TokenCost {
  readonly flashBytes: number;
  readonly flashReads: number;
  readonly neuronsNamed: number;
  readonly neuronsLoaded: number;
  /** Reads in flight. */
  readonly readMs: number;
  /** Of it, what nothing is computed in. */
  readonly exposedReadMs: number;
  readonly predictMs: number;
  readonly cacheMs: number;
  readonly checkMs: number;
  readonly attentionMs: number;
  readonly ffnMs: number;
  readonly headMs: number;
  readonly totalMs: number;
}

/** Ops of a layer beside those whose weights are counted: each costs its call. */
const OPS = { attention: 10, predict: 6, check: 5, ffn: 6, head: 2, landing: 8 } as const;
/** As the engine cuts the misses of a layer. */
const LANDING_GROUPS = 4;
const LEAST_GROUP_NEURONS = 32;
/** A stream's reads: long enough for the device's full rate. */
const STREAM_READ_BYTES = 2 ** 20;
/** What two things at once leave of each other where the profile does not know. */
const UNKNOWN_SHARE = 0.5;

/** Expected cost of one token. */
export function tokenCost(request: TokenRequest): TokenCost {
  const { shape, profile, settings, sparsity, method = OUR_METHOD } = request;
  const clock = new Arithmetic(request);
  const sum = {
    bytes: 0,
    reads: 0,
    named: 0,
    loaded: 0,
    readMs: 0,
    exposedMs: 0,
    predict: 0,
    cache: 0,
    check: 0,
    ffn: 0,
  };
  const attentionMs = clock.attentionMs();
  for (let layer = 0; layer < shape.nLayers; layer++) {
    const dense = settings.mode === "dense";
    const named = shape.dFf * (dense ? 1 : namedShare(sparsity, layer));
    const loaded = dense ? denseMisses(request, layer) : predictedMisses(request, layer);
    const reads = dense ? streamReads(shape, loaded) : randomReads(request, method, loaded);
    const readMs = readTime(profile, settings, reads, Math.max(1, named / request.slotsByLayer[layer]!), dense);
    const computed = method.computesHeld
      ? Math.max(named, shape.dFf * heldShare(sparsity, layer, cacheUse(request, layer)))
      : named;
    const ffn = clock.ffnMs(computed);
    const meanwhile = ffn * (1 - loaded / computed) + (shape.parallelBlock ? attentionMs : 0);
    sum.bytes += reads.bytes;
    sum.reads += reads.count;
    sum.named += named;
    sum.loaded += loaded;
    sum.readMs += readMs;
    sum.exposedMs += settings.overlap
      ? exposed(profile, readMs, meanwhile) + clock.landingMs(dense ? 0 : loaded)
      : readMs;
    sum.predict += dense ? 0 : clock.predictMs(layer);
    sum.cache += clock.cacheMs(named, loaded);
    sum.check += clock.checkMs(loaded);
    sum.ffn += ffn;
  }
  const headMs = clock.headMs();
  const attention = shape.nLayers * attentionMs;
  return {
    flashBytes: sum.bytes,
    flashReads: sum.reads,
    neuronsNamed: sum.named,
    neuronsLoaded: sum.loaded,
    readMs: sum.readMs,
    exposedReadMs: sum.exposedMs,
    predictMs: sum.predict,
    cacheMs: sum.cache,
    checkMs: sum.check,
    attentionMs: attention,
    ffnMs: sum.ffn,
    headMs,
    totalMs: sum.exposedMs + sum.predict + sum.cache + sum.check + attention + sum.ffn + headMs,
  };
}

/** Without a predictor a layer that is not held whole is streamed whole: a part of a cycle is never hit. */
function denseMisses({ shape, slotsByLayer }: TokenRequest, layer: number): number {
  return slotsByLayer[layer]! >= shape.dFf ? 0 : shape.dFf;
}

function predictedMisses(request: TokenRequest, layer: number): number {
  return request.shape.dFf * missShare(request.sparsity, layer, cacheUse(request, layer));
}

function cacheUse({ shape, settings, slotsByLayer, seenTokens }: TokenRequest, layer: number): CacheUse {
  return { heldShare: slotsByLayer[layer]! / shape.dFf, windowTokens: settings.windowTokens, seenTokens };
}

function randomReads({ shape, settings, sparsity }: TokenRequest, method: EngineMethod, missing: number): MissingReads {
  if (!method.joinsNeighbours) return singleReads(shape, missing);
  return missingReads(shape, missing, settings.mergeGapBytes, sparsity.clumping);
}

function streamReads(shape: ModelShape, missing: number): MissingReads {
  const bytes = missing * shape.strideBytes * shape.readsPerNeuron;
  const count = Math.ceil(bytes / STREAM_READ_BYTES);
  return { count, sizeBytes: count > 0 ? bytes / count : STREAM_READ_BYTES, bytes, extraPieces: 0 };
}

function readTime(
  profile: DeviceProfile,
  settings: EngineSettings,
  reads: MissingReads,
  waves: number,
  stream: boolean,
): number {
  const { flash } = profile;
  if (reads.count === 0) return 0;
  if (settings.readers === 0) {
    const { operationUs, bytesPerSec } = flash.pageCache ?? {
      operationUs: 0,
      bytesPerSec: flash.sequentialBytesPerSec,
    };
    return (reads.count * operationUs) / 1000 + (1000 * reads.bytes) / bytesPerSec;
  }
  if (stream) return batchMs(flash, settings.readers) + (1000 * reads.bytes) / flash.sequentialBytesPerSec;
  // A set that does not fit passes in waves, each a batch of its own.
  const perWave = batchReadMs(flash, reads.count / waves, reads.sizeBytes, settings.readers);
  return waves * perWave + (reads.extraPieces * flash.pieceUs) / 1000;
}

function exposed({ flash }: DeviceProfile, readMs: number, meanwhileMs: number): number {
  const { shareUnderCompute, computeShareUnderReads } = flash;
  const slowReads = readMs / (shareUnderCompute ?? UNKNOWN_SHARE);
  const slowCompute = meanwhileMs / (computeShareUnderReads ?? UNKNOWN_SHARE);
  // Whichever ends first leaves the rest of the other undisturbed.
  const together = Math.min(slowReads, slowCompute);
  const rest = readMs * (1 - together / slowReads || 0) + meanwhileMs * (1 - together / slowCompute || 0);
  return Math.max(0, together + rest - meanwhileMs);
}

/** Everything that is computed, or decided, in a token. */
class Arithmetic {
  readonly #request: TokenRequest;
  readonly #workingSetBytes: number;

  constructor(request: TokenRequest) {
    this.#request = request;
    const { shape, slotsByLayer, settings } = request;
    const predictors = settings.mode === "predicted" ? (shape.predictor?.bytesByLayer ?? []) : [];
    this.#workingSetBytes =
      shape.nLayers * shape.attentionBytes +
      shape.headBytes +
      shape.recordBytes * slotsByLayer.reduce((sum, slots) => sum + slots, 0) +
      predictors.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Of one layer. */
  attentionMs(): number {
    const { shape, position, kvPrecision } = this.#request;
    const kvType = kvPrecision;
    const elementBytes = kvType === "f32" ? 4 : kvType === "f16" ? 2 : 1;
    const kvBytes = 2 * (position + 1) * shape.nKvHeads * shape.headDim * elementBytes;
    return (
      this.#kernel("linear", shape.dtype, shape.attentionBytes) +
      this.#kernel("attention", kvType, kvBytes) +
      this.#calls(OPS.attention)
    );
  }

  predictMs(layer: number): number {
    const { shape, profile } = this.#request;
    const bytes = shape.predictor?.bytesByLayer[layer] ?? 0;
    if (bytes === 0) return 0;
    const scores = (shape.dFf * profile.management.nsPerScore) / 1e6;
    return this.#kernel("linear", shape.predictor!.dtype, bytes) + scores + this.#calls(OPS.predict);
  }

  cacheMs(named: number, loaded: number): number {
    const { shape, profile } = this.#request;
    const { nsPerNamed, nsPerLoaded, copyBytesPerSec } = profile.management;
    const copied = copyBytesPerSec === null ? 0 : (1000 * loaded * shape.recordBytes) / copyBytesPerSec;
    return (named * nsPerNamed + loaded * nsPerLoaded) / 1e6 + copied;
  }

  checkMs(loaded: number): number {
    const { shape, profile } = this.#request;
    if (!profile.kernels.some((rate) => rate.op === "checksum")) return 0;
    const bytes = loaded * shape.strideBytes * shape.readsPerNeuron;
    return this.#kernel("checksum", null, bytes) + Math.min(1, loaded) * this.#calls(OPS.check);
  }

  ffnMs(named: number): number {
    const { shape } = this.#request;
    return this.#kernel("neurons", shape.dtype, named * shape.recordBytes) + this.#calls(OPS.ffn);
  }

  /** Overlapped reads are waited for in several groups, each checked and computed by itself. */
  landingMs(loaded: number): number {
    const { profile, settings } = this.#request;
    const groups = Math.max(1, Math.min(LANDING_GROUPS, loaded / LEAST_GROUP_NEURONS));
    return (groups - 1) * (batchMs(profile.flash, settings.readers) / 2 + this.#calls(OPS.landing));
  }

  headMs(): number {
    const { shape } = this.#request;
    return this.#kernel("linear", shape.dtype, shape.headBytes) + this.#calls(OPS.head);
  }

  #kernel(op: KernelUse["op"], dtype: DType | null, bytes: number): number {
    const { profile, settings } = this.#request;
    return kernelMs(profile, { op, dtype, threads: settings.threads, workingSetBytes: this.#workingSetBytes }, bytes);
  }

  #calls(count: number): number {
    const { profile, settings } = this.#request;
    return (count * (profile.opUs + (settings.threads > 1 ? profile.handOffUs : 0))) / 1000;
  }
}
