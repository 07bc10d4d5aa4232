/**
 * What one pass over n tokens at once costs, in closed form; a token that is decoded is the pass over one:
 *
 *     T = Σ_l [ T_attn + T_gate + T_pred + T_cache(named, loaded) + exposed(Σ T[s, q]) + T_check(loaded) + T_ffn(named) ] + T_head
 *
 * T_gate is of gates that are resident, and is counted with the FFN. It comes before anything is named, so no read of the layer flies beside it.
 *
 * Dense, each layer that is not held is streamed once, whatever n is. Sparse, `named` is the union of the n tokens' sets, s_agg(n): read once
 * where it is missing, and computed for each of the tokens. Matrices are multiplied with n vectors: they are read once, and from some n on it
 * is the arithmetic that takes the time.
 *
 * exposed() is the whole of the reads, or where they overlap what of them outlasts the arithmetic that can be done meanwhile, both slowed by each
 * other as the profile says. Sparse, a single token overlaps as `settings.overlap` says: with resident neurons, in a parallel block with attention as
 * well. Dense passes read one chunk ahead, from one layer into the next, wherever there are threads that read: a single token where `settings.overlap`
 * says so, more tokens always. Those over matrices are row-stream-cost.ts.
 */
import type { PassCost } from "./cost-figures.js";
import type { DeviceProfile } from "./device-profile.js";
import { exposedReadMs } from "./exposed-reads.js";
import { type MissingReads, missingReads, singleReads, streamedNeurons } from "./missing-reads.js";
import { mixturePassCost } from "./mixture-cost.js";
import { PassArithmetic } from "./pass-arithmetic.js";
import { type EngineMethod, type EngineSettings, OUR_METHOD, type TokenRequest } from "./pass-request.js";
import { batchesReadMs, batchMs, bufferedReadMs, lastReadMs } from "./read-time.js";
import { rowStreamCost } from "./row-stream-cost.js";
import { type CacheUse, heldShare, missShare, unionShare } from "./sparsity.js";
import { MOST_STREAM_READ_BYTES } from "./stream-reads.js";

/** To the last bit of a number of neurons. */
const BISECTIONS = 60;

/**
 * Expected cost of one pass over `tokens` tokens that follow each other, the first at `request.position`.
 *
 * @param tokens An integer of at least 1. With 1 this is {@link tokenCost}.
 * Cost: O(layers · tokens), some microseconds.
 */
export function passCost(request: TokenRequest, tokens: number): PassCost {
  const { shape, settings } = request;
  if (shape.mixture) return mixturePassCost(request, shape.mixture, tokens);
  const clock = new PassArithmetic(request, tokens);
  const attentionMs = clock.attentionMs();
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
  for (let layer = 0; layer < shape.nLayers; layer++) {
    const cost = layerCost(request, tokens, clock, layer, attentionMs);
    for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += cost[key];
  }
  const headMs = clock.headMs();
  const attention = shape.nLayers * attentionMs;
  const arithmetic = sum.predict + sum.cache + sum.check + attention + sum.ffn + headMs;
  const ahead = readsAhead(settings, tokens);
  const { bytes, reads, readMs, exposedMs } = shape.rowStream
    ? rowStreamCost(request, shape.rowStream, (attention + sum.ffn) / shape.nLayers, ahead)
    : { ...sum, exposedMs: recordsExposedMs(request, tokens, sum, arithmetic) };
  return {
    flashBytes: bytes,
    flashReads: reads,
    neuronsNamed: sum.named,
    neuronsLoaded: sum.loaded,
    readMs,
    exposedReadMs: exposedMs,
    predictMs: sum.predict,
    cacheMs: sum.cache,
    checkMs: sum.check,
    attentionMs: attention,
    ffnMs: sum.ffn,
    headMs,
    totalMs: exposedMs + sum.predict + sum.cache + sum.check + attention + sum.ffn + headMs,
  };
}

/** Whether what is streamed is read one chunk before it is computed. */
function readsAhead({ readers, overlap }: EngineSettings, tokens: number): boolean {
  return readers > 0 && (tokens > 1 || overlap);
}

/** Of records: what of a stream's reads outlasts the arithmetic, or what layer by layer does of single reads. */
function recordsExposedMs(
  { profile, settings }: TokenRequest,
  tokens: number,
  sum: { readonly readMs: number; readonly exposedMs: number },
  arithmeticMs: number,
): number {
  const ahead = settings.mode === "dense" && readsAhead(settings, tokens);
  return ahead ? exposedReadMs(profile.flash, sum.readMs, arithmeticMs) : sum.exposedMs;
}

/** Of one layer, apart from its attention. */
function layerCost(request: TokenRequest, tokens: number, clock: PassArithmetic, layer: number, attentionMs: number) {
  const { shape, profile, settings, sparsity, method = OUR_METHOD } = request;
  const dense = settings.mode === "dense";
  const named = shape.dFf * (dense ? 1 : unionShare(sparsity, layer, tokens));
  const loaded = dense
    ? streamedNeurons(shape, request.slotsByLayer[layer]!, settings.windowTokens)
    : predictedMisses(request, layer, tokens);
  const reads = dense ? streamReads(request, loaded) : randomReads(request, method, loaded);
  const waves = Math.max(1, named / request.slotsByLayer[layer]!);
  const readMs = dense ? streamMs(request, reads) : randomReadMs(request, method, { missing: loaded, named, waves });
  const computed = method.computesHeld
    ? Math.max(named, shape.dFf * heldShare(sparsity, layer, cacheUse(request, layer)))
    : named;
  const [ffn, gate] = [clock.ffnMs(computed), clock.gateMs()];
  const meanwhile = ffn * (1 - loaded / computed) + (shape.parallelBlock ? attentionMs : 0);
  return {
    bytes: reads.bytes,
    reads: reads.count,
    named,
    loaded,
    readMs,
    exposedMs: settings.overlap
      ? exposedReadMs(profile.flash, readMs, meanwhile) + clock.landingMs(dense ? 0 : loaded)
      : readMs,
    predict: dense ? 0 : clock.predictMs(layer),
    cache: clock.cacheMs(named, loaded),
    check: clock.checkMs(loaded),
    ffn: ffn + gate,
  };
}

function predictedMisses(request: TokenRequest, layer: number, tokens: number): number {
  return request.shape.dFf * missShare(request.sparsity, layer, cacheUse(request, layer), tokens);
}

function cacheUse({ shape, settings, slotsByLayer, seenTokens }: TokenRequest, layer: number): CacheUse {
  return { heldShare: slotsByLayer[layer]! / shape.dFf, windowTokens: settings.windowTokens, seenTokens };
}

function randomReads({ shape, settings, sparsity }: TokenRequest, method: EngineMethod, missing: number): MissingReads {
  if (!method.joinsNeighbours) return singleReads(shape, missing);
  return missingReads(shape, missing, settings.mergeGapBytes, sparsity.clumping);
}

function streamReads({ shape }: TokenRequest, missing: number): MissingReads {
  const bytes = missing * shape.strideBytes * shape.readsPerNeuron;
  const count = Math.ceil(bytes / MOST_STREAM_READ_BYTES);
  return { count, sizeBytes: count > 0 ? bytes / count : MOST_STREAM_READ_BYTES, bytes, extraPieces: 0 };
}

/** One long read in pieces, at the device's full rate. */
function streamMs({ settings, profile: { flash } }: TokenRequest, reads: MissingReads): number {
  if (reads.count === 0) return 0;
  if (settings.readers === 0) return bufferedReadMs(flash, reads.count, reads.bytes);
  return batchMs(flash, settings.readers) + (1000 * reads.bytes) / flash.sequentialBytesPerSec;
}

interface LayerMisses {
  readonly missing: number;
  readonly named: number;
  readonly waves: number;
}

/**
 * Half a last read is a mean over batches of many rounds. Where gaps are read over, fewer missing neurons can be more reads: as soon as
 * these were one more than fit the queue, a neuron more in DRAM would add the half in whole. So a layer that would be read in one round if it
 * held less takes no longer than that, as far as the half goes.
 */
function randomReadMs(request: TokenRequest, method: EngineMethod, misses: LayerMisses): number {
  const { profile, settings } = request;
  const { missing, named, waves } = misses;
  const reads = randomReads(request, method, missing);
  const ms = readTime(profile, settings, reads, waves);
  if (settings.readers === 0 || waves > 1) return ms;
  const lastMs = lastReadMs(profile.flash, reads.count, reads.sizeBytes, settings.readers);
  if (lastMs === 0 || randomReads(request, method, named).count > settings.readers) return ms;
  const oneRound = randomReads(request, method, fewestInOneRound(request, method, misses));
  return Math.max(ms - lastMs, Math.min(ms, readTime(profile, settings, oneRound, waves)));
}

/** The fewest missing neurons, from `missing` to `named`, whose reads are in flight all at once. */
function fewestInOneRound(request: TokenRequest, method: EngineMethod, { missing, named }: LayerMisses): number {
  let [low, high] = [missing, named];
  for (let step = 0; step < BISECTIONS; step++) {
    const middle = (low + high) / 2;
    if (randomReads(request, method, middle).count > request.settings.readers) low = middle;
    else high = middle;
  }
  return high;
}

function readTime(profile: DeviceProfile, settings: EngineSettings, reads: MissingReads, waves: number): number {
  const { flash } = profile;
  if (reads.count === 0) return 0;
  if (settings.readers === 0) return bufferedReadMs(flash, reads.count, reads.bytes);
  // A set that does not fit passes in waves, each a batch of its own.
  const inWaves = batchesReadMs(flash, reads.count, reads.sizeBytes, settings.readers, waves);
  return inWaves + (reads.extraPieces * flash.pieceUs) / 1000;
}
