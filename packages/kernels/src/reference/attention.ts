/**
 * `storeKv` and `attention`.
 *
 * Scores: one f32 accumulator per key, plus ALiBi's bias, times the scale. Softmax: the largest score is taken away first; exponentials and their sum are
 * f32, that of a sink added last. Values: keys ascending into one f32 accumulator per element, divided by the sum at the end.
 */
import { decodeBfloat16, encodeBfloat16, encodeFloat16, KV_PAGE_TOKENS, paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { AttentionShape, KvCache } from "../contract.js";
import type { ArenaViews } from "./arena-views.js";
import { INT8_MOST, quantise } from "./quantised-vector.js";
import { decodeRow } from "./row-decoder.js";

/** The largest finite binary16: what lies beyond is stored as this, since cached values must be finite. */
const FLOAT16_MOST = 65504;

const ELEMENT_BYTES = { f32: 4, f16: 2, int8: 1 } as const;

/** See `Kernels.storeKv`. */
export function storeKv(views: ArenaViews, cache: KvCache, k: Ptr, v: Ptr, position: number, nTokens: number): void {
  const stride = paddedLength(cache.nKvHeads * cache.headDim);
  for (let t = 0; t < nTokens; t++) {
    for (let head = 0; head < cache.nKvHeads; head++) {
      const from = 4 * (t * stride + head * cache.headDim);
      storeVector(views, cache, locate(views, cache, "key", head, position + t), k + from);
      storeVector(views, cache, locate(views, cache, "value", head, position + t), v + from);
    }
  }
}

/** Where a key or a value is. */
interface StoredVector {
  /** `headDim` elements. */
  readonly at: Ptr;
  /** One f32; int8 only. */
  readonly scale: Ptr;
}

/** The layout of core's kv-page.ts. */
function locate(
  views: ArenaViews,
  { dtype, pages, offsetBytes, nKvHeads, headDim }: KvCache,
  which: "key" | "value",
  head: number,
  position: number,
): StoredVector {
  const part = views.u32[pages / 4 + Math.floor(position / KV_PAGE_TOKENS)]! + offsetBytes;
  const rows = nKvHeads * KV_PAGE_TOKENS;
  const row = (which === "value" ? rows : 0) + head * KV_PAGE_TOKENS + (position % KV_PAGE_TOKENS);
  const vectorBytes = headDim * ELEMENT_BYTES[dtype];
  return { at: part + row * vectorBytes, scale: part + 2 * rows * vectorBytes + 4 * row };
}

function storeVector(views: ArenaViews, cache: KvCache, { at, scale }: StoredVector, from: Ptr): void {
  const { headDim } = cache;
  const source = views.f32.subarray(from / 4, from / 4 + headDim);
  if (cache.dtype === "f32") {
    views.f32.set(source, at / 4);
  } else if (cache.dtype === "f16") {
    for (let d = 0; d < headDim; d++) {
      views.u16[at / 2 + d] = encodeFloat16(Math.max(-FLOAT16_MOST, Math.min(FLOAT16_MOST, source[d]!)));
    }
  } else {
    views.f32[scale / 4] = quantise(views.i8.subarray(at, at + headDim), source, INT8_MOST);
  }
}

/** See `Kernels.attention`. Scratch is not used. */
export function attention(
  views: ArenaViews,
  out: Ptr,
  q: Ptr,
  cache: KvCache,
  shape: AttentionShape,
  position: number,
  nTokens: number,
  headBegin: number,
  headEnd: number,
): void {
  const { headDim } = cache;
  const width = shape.nHeads * headDim;
  const stride = paddedLength(width);
  for (let t = 0; t < nTokens; t++) {
    const end = position + t + 1;
    const begin = Math.max(0, end - (shape.windowTokens ?? end));
    for (let head = headBegin; head < headEnd; head++) {
      const kvHead = Math.floor((head * cache.nKvHeads) / shape.nHeads);
      const at = t * stride + head * headDim;
      const query = views.f32.subarray(q / 4 + at, q / 4 + at + headDim);
      const scores = scoreKeys(views, cache, kvHead, query, begin, end);
      if (shape.slopes) addAlibi(scores, views.f32[shape.slopes / 4 + head]!, begin);
      const sink = shape.sinks ? views.f32[shape.sinks / 4 + head]! : Number.NEGATIVE_INFINITY;
      const weights = softmax(
        scores.map((score) => score * Math.fround(shape.scale)),
        sink,
      );
      const mixed = mixValues(views, cache, kvHead, weights, begin);
      views.f32.set(mixed, out / 4 + at);
    }
    if (headEnd === shape.nHeads) views.f32.fill(0, out / 4 + t * stride + width, out / 4 + (t + 1) * stride);
  }
}

/** Of keys begin … end − 1. */
function scoreKeys(
  views: ArenaViews,
  cache: KvCache,
  kvHead: number,
  query: Float32Array,
  begin: number,
  end: number,
): Float32Array {
  const scores = new Float32Array(end - begin);
  const key = new Float32Array(cache.headDim);
  for (let j = begin; j < end; j++) {
    const stored = locate(views, cache, "key", kvHead, j);
    decodeRow(cache.dtype, views.u8, stored.at, cache.headDim, key);
    let sum = 0;
    for (let d = 0; d < key.length; d++) sum = Math.fround(sum + Math.fround(query[d]! * key[d]!));
    if (cache.dtype === "int8") sum = Math.fround(sum * views.f32[stored.scale / 4]!);
    scores[j - begin] = sum;
  }
  return scores;
}

/** @param begin Position of the first key. */
function addAlibi(scores: Float32Array, slope: number, begin: number): void {
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! + roundToBfloat16(slope * roundToBfloat16(begin + i));
}

/** To nearest, ties to even. */
function roundToBfloat16(x: number): number {
  return decodeBfloat16(encodeBfloat16(Math.fround(x)));
}

interface SoftmaxWeights {
  /** e^(score − largest), f32. */
  readonly exponentials: Float32Array;
  readonly sum: number;
}

/** @param sink A score without a value: it joins the sum alone. -Infinity for none. */
function softmax(scores: Float32Array, sink: number): SoftmaxWeights {
  const largest = scores.reduce((most, score) => Math.max(most, score), sink);
  const exponentials = scores.map((score) => Math.exp(Math.fround(score - largest)));
  const sum = exponentials.reduce((sum, e) => Math.fround(sum + e), 0);
  return { exponentials, sum: Math.fround(sum + Math.fround(Math.exp(Math.fround(sink - largest)))) };
}

function mixValues(
  views: ArenaViews,
  cache: KvCache,
  kvHead: number,
  { exponentials, sum }: SoftmaxWeights,
  begin: number,
): Float32Array {
  const mixed = new Float32Array(cache.headDim);
  const value = new Float32Array(cache.headDim);
  for (const [i, e] of exponentials.entries()) {
    const stored = locate(views, cache, "value", kvHead, begin + i);
    decodeRow(cache.dtype, views.u8, stored.at, cache.headDim, value);
    const factor = cache.dtype === "int8" ? Math.fround(e * views.f32[stored.scale / 4]!) : e;
    for (let d = 0; d < mixed.length; d++) mixed[d] = mixed[d]! + Math.fround(factor * value[d]!);
  }
  return mixed.map((element) => element / sum);
}
