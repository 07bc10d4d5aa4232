/**
 * What it matters where reads land: node bench/landing.bench.mjs <file> [--places 16]
 *
 * Chunks of 8 MiB, in eight direct reads at once, to places of one fresh memory, and of how many pieces the physical memory of each place consists.
 * CSV. Linux, and the right to see page frames (root). Build the package first.
 */
import { openSync, readFileSync, readSync } from "node:fs";
import { parseArgs } from "node:util";
import { openFlashReader } from "../dist/node.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { places: { type: "string", default: "16" } },
});
const path = positionals[0];
if (!path) {
  console.error("usage: node bench/landing.bench.mjs <file> [--places 16]");
  process.exit(2);
}
const MiB = 2 ** 20;
const CHUNK_BYTES = 8 * MiB;
const READS = 8;
const PAGE_BYTES = 4096;
const WASM_PAGE_BYTES = 65536;
const PASSES = 15;
const places = Number(values.places);
const memory = sharedMemory(places * CHUNK_BYTES);
const reader = await openFlashReader(path, { readers: READS, mergeGapBytes: 0 });
await reader.grow(READS);

function sharedMemory(bytes) {
  const pages = bytes / WASM_PAGE_BYTES;
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

/** Milliseconds of a chunk, the same bytes for all places. */
async function readTo(place) {
  const sizeBytes = CHUNK_BYTES / READS;
  const runs = Array.from({ length: READS }, (_, i) => {
    const pieces = [{ ptr: place * CHUNK_BYTES + i * sizeBytes, sizeBytes }];
    return { offset: i * sizeBytes, sizeBytes, pieces, picks: 0 };
  });
  const begin = performance.now();
  reader.start(memory, runs);
  await reader.wait();
  return performance.now() - begin;
}

/** Where the memory begins: the largest resident stretch of this process. */
function memoryBegin() {
  const stretches = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const sizes = stretches.map((text) => [Number.parseInt(text, 16), Number(/^Rss:\s+(\d+)/m.exec(text)?.[1] ?? 0)]);
  return sizes.reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

/** Stretches of a place whose page frames follow each other. */
function piecesOf(place, begin) {
  const pages = CHUNK_BYTES / PAGE_BYTES;
  const entries = Buffer.alloc(8 * pages);
  const descriptor = openSync("/proc/self/pagemap", "r");
  readSync(descriptor, entries, 0, entries.length, (8 * (begin + place * CHUNK_BYTES)) / PAGE_BYTES);
  const frames = Array.from({ length: pages }, (_, i) => entries.readBigUInt64LE(8 * i) & ((1n << 55n) - 1n));
  return frames.filter((frame, i) => i === 0 || frame !== frames[i - 1] + 1n).length;
}

const times = Array.from({ length: places }, () => []);
for (let pass = 0; pass < PASSES; pass++) {
  for (let place = 0; place < places; place++) times[place].push(await readTo(place));
}
const begin = memoryBegin();
console.log("place,pieces,ms,gb_per_s");
for (const [place, of] of times.entries()) {
  const ms = of.sort((a, b) => a - b)[PASSES >> 1];
  console.log([place, piecesOf(place, begin), ms.toFixed(3), (CHUNK_BYTES / ms / 1e6).toFixed(3)].join(","));
}
await reader.close();
