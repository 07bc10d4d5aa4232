/**
 * An arena: one WebAssembly.Memory of fixed size in which weights, slots and activations live.
 *
 * Invariants: the memory never grows (a growing memory detaches every view of it); pointers are byte offsets below
 * 4 GiB and never zero (zero means "none"); everything starts out as zero bytes; nothing is freed, except by rewinding
 * to a mark. A model larger than one arena has several, with its layers assigned to them.
 */
import { assert, UnsupportedError } from "@flashwick/core";

/** A byte offset into an arena; 0 means "none". */
export type Ptr = number;

const PAGE_BYTES = 65536;
/** wasm32 limit. */
export const MAX_ARENA_BYTES = 65536 * PAGE_BYTES;
/** Bytes at the bottom that belong to the kernel module (its tables and constants). */
export const ARENA_RESERVED_BYTES = 65536;

/** A WebAssembly memory of fixed size in which weights, slots and vectors lie. */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly sizeBytes: number;
  /** View of everything; byte p is `bytes[p]`. */
  readonly bytes: Uint8Array;
  #top = ARENA_RESERVED_BYTES;

  /**
   * @param sizeBytes What `allocate` may hand out in total, alignment included; rounded up to 64 KiB.
   * @param shared    Shared between threads; needs `SharedArrayBuffer`.
   * @throws {UnsupportedError} beyond 4 GiB, or when the platform has no such memory to give.
   */
  constructor(sizeBytes: number, shared = false) {
    const pages = Math.ceil((sizeBytes + ARENA_RESERVED_BYTES) / PAGE_BYTES);
    if (pages > 65536) {
      throw new UnsupportedError("UNSUPPORTED_FEATURE", `an arena of ${sizeBytes} bytes exceeds the 4 GiB of wasm32`, {
        details: { sizeBytes },
      });
    }
    try {
      this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
    } catch (cause) {
      throw new UnsupportedError("UNSUPPORTED_FEATURE", `the platform refused an arena of ${sizeBytes} bytes`, {
        details: { sizeBytes },
        cause,
      });
    }
    this.sizeBytes = pages * PAGE_BYTES;
    this.bytes = new Uint8Array(this.memory.buffer);
  }

  /** Bytes still to be had. */
  get freeBytes(): number {
    return this.sizeBytes - this.#top;
  }

  /** Reserves `sizeBytes` zero bytes. Sizes are planned beforehand, so running out is a bug, not an error. */
  allocate(sizeBytes: number, alignmentBytes = 16): Ptr {
    const ptr = Math.ceil(this.#top / alignmentBytes) * alignmentBytes;
    assert(ptr + sizeBytes <= this.sizeBytes, `arena overrun: ${sizeBytes} bytes at ${ptr} of ${this.sizeBytes}`);
    this.#top = ptr + sizeBytes;
    return ptr;
  }

  /** The current top, for {@link rewind}. */
  mark(): Ptr {
    return this.#top;
  }

  /** Gives back everything allocated since `mark`, zeroed. */
  rewind(mark: Ptr): void {
    assert(mark <= this.#top, "rewind to a mark above the top");
    this.bytes.fill(0, mark, this.#top);
    this.#top = mark;
  }

  /** A view of f32 elements at `ptr`. */
  f32(ptr: Ptr, length: number): Float32Array {
    return new Float32Array(this.memory.buffer, ptr, length);
  }

  /** A view of u32 elements at `ptr`. */
  u32(ptr: Ptr, length: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, ptr, length);
  }

  /** A view of bytes at `ptr`. */
  u8(ptr: Ptr, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, ptr, length);
  }
}
