/**
 * Memory that measured reads land in, as it is in a process with a large model: on a virtual disk, how fast reads are depends on it
 * (docs/results/landing-memory.md).
 *
 * A process is given the fragments of physical memory first, and long stretches once those have run out. The arenas of a model of gigabytes lie nearly all in
 * stretches. So the fragments are taken, and given back when the memory has its pages.
 */
import { assert } from "@flashwick/core";
import { spareMemoryBytes } from "../machine-memory.js";

const WASM_PAGE_BYTES = 65536;
/** A process has no more of them. */
export const FRAGMENTS_BYTES = 512 * 2 ** 20;
/** Of the memory that is free, what the fragments may take for a moment. */
const MOST_SPARE_SHARE = 1 / 4;

/**
 * Shared memory of so many bytes, each page touched.
 *
 * @param mostBytes Of fragments that are taken for it, and given back; 0: it takes what comes.
 */
export function memoryBeyondFragments(sizeBytes: number, mostBytes = FRAGMENTS_BYTES): Uint8Array {
  const fragmentsBytes = Math.min(mostBytes, spareMemoryBytes() * MOST_SPARE_SHARE);
  const fragments = touched(new WebAssembly.Memory(pagesOf(fragmentsBytes)));
  const memory = touched(new WebAssembly.Memory({ ...pagesOf(sizeBytes), shared: true }));
  // Until here they are held: nobody else may have them.
  assert(fragments[0] === 1, "the fragments are still there");
  return memory;
}

function touched({ buffer }: WebAssembly.Memory): Uint8Array {
  return new Uint8Array(buffer).fill(1);
}

function pagesOf(sizeBytes: number): { readonly initial: number; readonly maximum: number } {
  const pages = Math.ceil(Math.max(1, sizeBytes) / WASM_PAGE_BYTES);
  return { initial: pages, maximum: pages };
}
