/** `storeKv` and `attention`, over what the cache really holds. */
import { decodeBfloat16, encodeBfloat16, KV_PAGE_TOKENS, paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { KvCache, KvDType } from "../contract.js";
import { allocatePages, expectOthersUntouched, forgetFrom, sharePages, storedVector } from "./paged-cache.js";
import { dot, EXP_ERROR, magnitude, sumBound, UNIT_ROUNDOFF } from "./tolerance.js";
import { expectClose, expectSameBits, expectZeros } from "./verdict.js";
import type { Vectors, Workbench } from "./workbench.js";

export interface AttentionCase {
  readonly op: "attention";
  /**
   * `close`: to exact attention over the stored keys and values. Bit for bit: `batch` = token by token; `ranges` of heads = all; `pages` in any order =
   * pages in sequence; `shared`: two sequences whose tables share their first page = each alone; `window`: with everything before the window lost = with
   * it there, and a window of all tokens = none. Pages are scattered in every check.
   */
  readonly check: "close" | "batch" | "ranges" | "pages" | "shared" | "window";
  readonly dtype: KvDType;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  /** Tokens that are in the cache before. */
  readonly position: number;
  readonly nTokens: number;
  /** With ALiBi's bias on the scores. */
  readonly alibi?: boolean;
  /** Keys that a query sees. */
  readonly windowTokens?: number;
  /** With a sink for each head. */
  readonly sinks?: boolean;
}

const STORED: Readonly<Record<KvDType, string>> = {
  f32: "stored exactly",
  f16: "stored to nearest",
  int8: "stored within scale/2",
};

export function attentionTitle(c: AttentionCase): string {
  const heads = c.nHeads === c.nKvHeads ? `${c.nHeads} heads` : `${c.nHeads} heads on ${c.nKvHeads}`;
  const window = c.windowTokens === undefined ? "" : ` over ${c.windowTokens}`;
  const more = `${window}${c.alibi ? " with ALiBi" : ""}${c.sinks ? " with sinks" : ""}`;
  const shape = `attention${more} ${c.dtype}, ${heads} of ${c.headDim}, ${c.nTokens} tokens at ${c.position}`;
  if (c.check === "batch") return `${shape}: a sequence at once equals token by token, bit for bit`;
  if (c.check === "ranges") return `${shape}: head ranges equal the whole, bit for bit`;
  if (c.check === "pages") return `${shape}: scattered pages equal neighbouring ones, bit for bit`;
  if (c.check === "shared") return `${shape}: sequences that share a page equal each alone, bit for bit`;
  if (c.check === "window")
    return `${shape}: what lies before the window is not read, one of all tokens changes no bit`;
  return `${shape}: ${STORED[c.dtype]}, out within max|v|·(2·score error + (keys+8)·2^-23)`;
}

interface Attention {
  readonly bench: Workbench;
  readonly c: AttentionCase;
  readonly cache: KvCache;
  readonly q: Vectors;
  readonly scratch: Ptr;
  readonly scale: number;
  /** ALiBi slopes, bfloat16 values; zeros without. */
  readonly slopes: { readonly ptr: Ptr; readonly values: Float64Array };
  /** -Infinity without. */
  readonly sinks: { readonly ptr: Ptr; readonly values: Float64Array };
}

export function runAttention(bench: Workbench, c: AttentionCase): void {
  const total = c.position + c.nTokens;
  const cache = allocatePages(bench, c, total, "scattered");
  const [k, v] = makeKeysAndValues(bench, c);
  const q = bench.vectors(c.nTokens, c.nHeads * c.headDim);
  const scratch = bench.scratch(bench.kernels.attentionScratchBytes(total));
  const scale = Math.fround(1 / Math.sqrt(c.headDim));
  const attention: Attention = {
    bench,
    c,
    cache,
    q,
    scratch,
    scale,
    slopes: makeSlopes(bench, c),
    sinks: makeSinks(bench, c),
  };
  const stride = 4 * paddedLength(c.nKvHeads * c.headDim);
  bench.kernels.storeKv(cache, k.ptr, v.ptr, 0, c.position);
  bench.kernels.storeKv(cache, k.ptr + c.position * stride, v.ptr + c.position * stride, c.position, c.nTokens);
  const out = attend(attention, c.nTokens);
  if (c.check === "close") {
    compareStored(attention, k, v);
    compareWithExact(attention, out);
  } else if (c.check === "batch") {
    compareTokenByToken(attention, k, v, out);
  } else if (c.check === "pages") {
    compareWithNeighbouring(attention, k, v, out);
  } else if (c.check === "shared") {
    compareShared(attention, k, v, out);
  } else if (c.check === "window") {
    compareWithoutPast(attention, out);
  } else {
    expectSameBits("out", attend(attention, c.nTokens, [1, c.nHeads - 1]), out);
  }
}

/** Of every position. */
function makeKeysAndValues(
  bench: Workbench,
  { position, nTokens, nKvHeads, headDim }: AttentionCase,
): [Vectors, Vectors] {
  const total = position + nTokens;
  return [bench.vectors(total, nKvHeads * headDim), bench.vectors(total, nKvHeads * headDim)];
}

function makeSlopes(bench: Workbench, { alibi, nHeads }: AttentionCase): Attention["slopes"] {
  if (!alibi) return { ptr: 0, values: new Float64Array(nHeads) };
  const values = Float64Array.from({ length: nHeads }, () => roundToBfloat16(0.5 + bench.random.signed() / 2));
  const ptr = bench.arena.allocate(4 * nHeads);
  bench.arena.f32(ptr, nHeads).set(values);
  return { ptr, values };
}

function makeSinks(bench: Workbench, { sinks, nHeads }: AttentionCase): Attention["sinks"] {
  if (!sinks) return { ptr: 0, values: new Float64Array(nHeads).fill(Number.NEGATIVE_INFINITY) };
  return bench.floats(nHeads);
}

function roundToBfloat16(x: number): number {
  return decodeBfloat16(encodeBfloat16(x));
}

function attend(
  { bench, c, cache, q, scratch, scale, slopes, sinks }: Attention,
  nTokens: number,
  cuts: readonly number[] = [],
): Float32Array {
  const count = nTokens * paddedLength(c.nHeads * c.headDim);
  const out = bench.output(count);
  const bounds = [0, ...cuts, c.nHeads];
  for (let i = 1; i < bounds.length; i++) {
    const [begin, end] = [bounds[i - 1]!, bounds[i]!];
    const windowTokens = c.windowTokens ?? null;
    const shape = { nHeads: c.nHeads, scale, slopes: slopes.ptr, windowTokens, sinks: sinks.ptr };
    bench.kernels.attention(out, q.ptr, cache, shape, c.position, nTokens, scratch, begin, end);
  }
  return bench.snapshot(out, count);
}

function compareStored(attention: Attention, k: Vectors, v: Vectors): void {
  const { bench, cache, c } = attention;
  expectOthersUntouched(bench, cache, c.position + c.nTokens);
  for (let position = 0; position < c.position + c.nTokens; position++) {
    for (let head = 0; head < c.nKvHeads; head++) {
      const range = [head * c.headDim, (head + 1) * c.headDim] as const;
      const key = storedVector(bench, cache, "key", head, position);
      const value = storedVector(bench, cache, "value", head, position);
      compareVector(c.dtype, `key[${head}, ${position}]`, key, k.values[position]!.subarray(...range));
      compareVector(c.dtype, `value[${head}, ${position}]`, value, v.values[position]!.subarray(...range));
    }
  }
}

function compareVector(dtype: KvDType, what: string, stored: Float64Array, wanted: Float64Array): void {
  const largest = wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  for (const [d, x] of wanted.entries()) {
    const bound = dtype === "f32" ? 0 : dtype === "f16" ? Math.abs(x) * 2 ** -11 + 2 ** -25 : (largest / 127) * 0.50001;
    expectClose(`${what}[${d}]`, stored[d]!, x, bound);
  }
}

function compareWithExact(attention: Attention, out: Float32Array): void {
  const { c, q } = attention;
  const stride = paddedLength(c.nHeads * c.headDim);
  for (let t = 0; t < c.nTokens; t++) {
    for (let head = 0; head < c.nHeads; head++) {
      const from = head * c.headDim;
      const query = q.values[t]!.subarray(from, from + c.headDim);
      compareHead(attention, `out[${t}, ${head}]`, query, head, c.position + t + 1, out.subarray(t * stride + from));
    }
    expectZeros(`padding of out[${t}]`, out.subarray(t * stride + c.nHeads * c.headDim, (t + 1) * stride));
  }
}

function compareHead(
  attention: Attention,
  what: string,
  query: Float64Array,
  head: number,
  nKeys: number,
  out: Float32Array,
): void {
  const { bench, c, cache, scale, slopes, sinks } = attention;
  const kvHead = Math.floor(head / (c.nHeads / c.nKvHeads));
  const first = firstKey(c, nKeys - 1);
  const positions = Array.from({ length: nKeys - first }, (_, i) => first + i);
  const keys = positions.map((j) => storedVector(bench, cache, "key", kvHead, j));
  const values = positions.map((j) => storedVector(bench, cache, "value", kvHead, j));
  const biases = positions.map((j) => roundToBfloat16(slopes.values[head]! * roundToBfloat16(j)));
  const scores = keys.map((key, i) => scale * (dot(query, key) + biases[i]!));
  const sink = sinks.values[head]!;
  const most = Math.max(...scores, sink);
  const weights = scores.map((score) => Math.exp(score - most));
  const total = weights.reduce((sum, weight) => sum + weight, Math.exp(sink - most));
  // Score: the product's bound, and four more roundings (bias, scales, subtraction of the largest).
  const scoreError = Math.max(
    ...keys.map((key, j) => sumBound(c.headDim + 4, scale * (magnitude(query, key) + biases[j]!))),
  );
  const largest = Math.max(...values.flatMap((value) => Array.from(value, Math.abs)));
  const relative = 2 * (2 * scoreError + EXP_ERROR) + 2 * (nKeys + 4) * UNIT_ROUNDOFF;
  for (let d = 0; d < c.headDim; d++) {
    const expected = values.reduce((sum, value, j) => sum + (weights[j]! / total) * value[d]!, 0);
    expectClose(`${what}[${d}]`, out[d]!, expected, largest * relative);
  }
}

/** The first position that the query of `position` sees. */
function firstKey({ windowTokens }: AttentionCase, position: number): number {
  return windowTokens === undefined ? 0 : Math.max(0, position + 1 - windowTokens);
}

/** No memory of any size has an address like this. */
const NOWHERE = 0xf0000000;

/** What no query sees becomes NaN, and its whole pages are taken away. */
function compareWithoutPast(attention: Attention, out: Float32Array): void {
  const { bench, c, cache } = attention;
  const total = c.position + c.nTokens;
  const wide = { ...attention, c: { ...c, windowTokens: total } };
  const { windowTokens: _, ...unlimited } = c;
  const all = attend({ ...attention, c: unlimited }, c.nTokens);
  expectSameBits("out of a window of all tokens", attend(wide, c.nTokens), all);
  const first = firstKey(c, c.position);
  forgetFrom(bench, cache, 0, first);
  bench.arena.u32(cache.pages, Math.floor(first / KV_PAGE_TOKENS)).fill(NOWHERE);
  expectSameBits("out without the past", attend(attention, c.nTokens), out);
}

/** The same keys and values, page after page. */
function compareWithNeighbouring(attention: Attention, k: Vectors, v: Vectors, out: Float32Array): void {
  const { bench, c } = attention;
  const total = c.position + c.nTokens;
  const cache = allocatePages(bench, c, total, "neighbouring");
  bench.kernels.storeKv(cache, k.ptr, v.ptr, 0, total);
  expectSameBits("out of scattered pages", out, attend({ ...attention, cache }, c.nTokens));
}

/** Another sequence begins with the same page and goes on otherwise: neither may notice the other. */
function compareShared(attention: Attention, k: Vectors, v: Vectors, out: Float32Array): void {
  const { bench, c, cache } = attention;
  const total = c.position + c.nTokens;
  const [otherK, otherV] = makeKeysAndValues(bench, c);
  const stride = 4 * paddedLength(c.nKvHeads * c.headDim);
  const storeRest = (to: KvCache) => {
    const from = KV_PAGE_TOKENS * stride;
    bench.kernels.storeKv(to, otherK.ptr + from, otherV.ptr + from, KV_PAGE_TOKENS, total - KV_PAGE_TOKENS);
  };
  const sharing = sharePages(bench, cache, 1, total);
  storeRest(sharing);
  const alone = allocatePages(bench, c, total, "scattered");
  bench.kernels.storeKv(alone, k.ptr, v.ptr, 0, KV_PAGE_TOKENS);
  storeRest(alone);
  const expected = attend({ ...attention, cache: alone }, c.nTokens);
  expectSameBits("out of the sequence that shares", attend({ ...attention, cache: sharing }, c.nTokens), expected);
  expectSameBits("out of the first sequence, afterwards", attend(attention, c.nTokens), out);
}

/** Forgets the new tokens, then stores and attends one at a time; what is stored beyond may be anything, even NaN. */
function compareTokenByToken(attention: Attention, k: Vectors, v: Vectors, out: Float32Array): void {
  const { bench, c, cache, q } = attention;
  const [kvStride, stride] = [4 * paddedLength(c.nKvHeads * c.headDim), 4 * paddedLength(c.nHeads * c.headDim)];
  forgetFrom(bench, cache, c.position, c.position + c.nTokens);
  for (let t = 0; t < c.nTokens; t++) {
    const position = c.position + t;
    bench.kernels.storeKv(cache, k.ptr + position * kvStride, v.ptr + position * kvStride, position, 1);
    const alone = { ...attention, c: { ...c, position }, q: { ...q, ptr: q.ptr + t * stride } };
    expectSameBits(`out[${t}]`, attend(alone, 1), out.slice((t * stride) / 4, ((t + 1) * stride) / 4));
  }
}
