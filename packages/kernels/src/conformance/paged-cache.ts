/** Keys and values of one sequence in an arena, with pages where a case wants them. */
import { decodeFloat16, KV_PAGE_TOKENS, kvPartBytes } from "@flashwick/core";
import type { KvCache, KvDType } from "../contract.js";
import { expectEqual } from "./verdict.js";
import type { Workbench } from "./workbench.js";

/** `scattered`: in any order, none beside another, this layer's part between those of two others. `neighbouring`: one after the other, one layer. */
export type PageLayout = "scattered" | "neighbouring";

/** What lies where nothing has been stored: NaN as f32, and as a scale. */
const UNSTORED_BYTE = 0xff;

/** The shape of a cache. */
type KvShape = Pick<KvCache, "dtype" | "nKvHeads" | "headDim">;

/** Pages for `tokens` positions, and their table; all of {@link UNSTORED_BYTE}. */
export function allocatePages(bench: Workbench, shape: KvShape, tokens: number, layout: PageLayout): KvCache {
  const { dtype, nKvHeads, headDim } = shape;
  const scattered = layout === "scattered";
  const count = Math.ceil(tokens / KV_PAGE_TOKENS);
  const partBytes = kvPartBytes(dtype, nKvHeads, headDim);
  const pageBytes = (scattered ? 3 : 1) * partBytes;
  const slots = scattered ? 2 * count : count;
  const area = bench.arena.allocate(slots * pageBytes);
  bench.arena.u8(area, slots * pageBytes).fill(UNSTORED_BYTE);
  const order = Array.from({ length: count }, (_, i) => i);
  if (scattered) shuffle(order, bench);
  const pages = bench.indices(order.map((place) => area + (scattered ? 2 * place + 1 : place) * pageBytes));
  return { dtype, pages, offsetBytes: scattered ? partBytes : 0, nKvHeads, headDim };
}

/** A sequence that begins with the first `sharedPages` pages of `of`, and goes on with pages of its own. */
export function sharePages(bench: Workbench, of: KvCache, sharedPages: number, tokens: number): KvCache {
  const own = allocatePages(bench, of, tokens, "scattered");
  bench.arena.u32(own.pages, sharedPages).set(bench.arena.u32(of.pages, sharedPages));
  return own;
}

function shuffle(numbers: number[], { random }: Workbench): void {
  for (let i = numbers.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [numbers[i], numbers[j]] = [numbers[j]!, numbers[i]!];
  }
}

/** One stored key or value, dequantised. */
export function storedVector(
  bench: Workbench,
  cache: KvCache,
  which: "key" | "value",
  kvHead: number,
  position: number,
): Float64Array {
  const { headDim: n, dtype } = cache;
  const { buffer } = bench.arena.memory;
  const { at, scaleAt } = addressOf(bench, cache, which, kvHead, position);
  if (dtype === "f32") return Float64Array.from(bench.arena.f32(at, n));
  if (dtype === "f16") return Float64Array.from(new Uint16Array(buffer, at, n), decodeFloat16);
  const scale = bench.arena.f32(scaleAt, 1)[0]!;
  return Float64Array.from(new Int8Array(buffer, at, n), (q) => q * scale);
}

/** Makes keys and values of positions [position, end) as if nothing had been stored to them. */
export function forgetFrom(bench: Workbench, cache: KvCache, position: number, end: number): void {
  for (let p = position; p < end; p++) {
    for (const which of ["key", "value"] as const) {
      for (let head = 0; head < cache.nKvHeads; head++) {
        const { at, scaleAt } = addressOf(bench, cache, which, head, p);
        bench.arena.u8(at, cache.headDim * elementBytes(cache.dtype)).fill(UNSTORED_BYTE);
        if (cache.dtype === "int8") bench.arena.u8(scaleAt, 4).fill(UNSTORED_BYTE);
      }
    }
  }
}

/** Fails if anything of the other layers' parts in the pages has been written to. */
export function expectOthersUntouched(bench: Workbench, cache: KvCache, tokens: number): void {
  const partBytes = kvPartBytes(cache.dtype, cache.nKvHeads, cache.headDim);
  const count = Math.ceil(tokens / KV_PAGE_TOKENS);
  for (const [i, page] of bench.arena.u32(cache.pages, count).entries()) {
    for (const part of [page, page + 2 * partBytes]) {
      const touched = bench.arena.u8(part, partBytes).findIndex((byte) => byte !== UNSTORED_BYTE);
      expectEqual(`first byte of page ${i} written beside the layer's part`, touched, -1);
    }
  }
}

/** As `kvPartBytes` describes a part: keys, values, key scales, value scales. */
function addressOf(
  bench: Workbench,
  { dtype, pages, offsetBytes, nKvHeads, headDim }: KvCache,
  which: "key" | "value",
  kvHead: number,
  position: number,
): { readonly at: number; readonly scaleAt: number } {
  const part = bench.arena.u32(pages, (position >> 4) + 1)[position >> 4]! + offsetBytes;
  const arrayBytes = nKvHeads * 16 * headDim * elementBytes(dtype);
  const row = kvHead * 16 + (position & 15);
  const second = which === "value" ? 1 : 0;
  const at = part + second * arrayBytes + row * headDim * elementBytes(dtype);
  return { at, scaleAt: part + 2 * arrayBytes + 4 * (second * nKvHeads * 16 + row) };
}

function elementBytes(dtype: KvDType): number {
  return dtype === "f32" ? 4 : dtype === "f16" ? 2 : 1;
}
