/** What one op checks of its operands before it runs. Every failure is a `FlashwickError` with the code `SHAPE`. */
import { FlashwickError } from "@flashwick/core";
import { ARENA_RESERVED_BYTES, type Arena, type Ptr } from "../arena.js";

/** What a count has to be. */
export interface CountLimits {
  /** Default 0. */
  readonly least?: number;
  /** Default: no limit. */
  readonly most?: number;
  /** The count is a multiple of it. Default 1. */
  readonly unit?: number;
}

/** Bytes of an operand in the arena. */
export interface Extent {
  readonly name: string;
  readonly ptr: Ptr;
  readonly sizeBytes: number;
}

/** The checks of one op over one arena. Nothing is allocated unless a check fails, but for the views that {@link u32} returns. */
export class OperandChecks {
  readonly #arena: Arena;
  readonly #op: string;

  constructor(arena: Arena, op: string) {
    this.#arena = arena;
    this.#op = op;
  }

  /** An integer within limits. */
  count(name: string, value: number, { least = 0, most = Number.MAX_SAFE_INTEGER, unit = 1 }: CountLimits = {}): void {
    if (Number.isSafeInteger(value) && value >= least && value <= most && value % unit === 0) return;
    const upTo = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    const kind = unit === 1 ? "an integer" : `a multiple of ${unit}`;
    this.fail(name, `${kind} ${upTo}`, String(value));
  }

  /** A number that is neither NaN nor infinite. */
  finite(name: string, value: number): void {
    if (!Number.isFinite(value)) this.fail(name, "a finite number", String(value));
  }

  /** Part of an output, named `<of>Begin` and `<of>End`: 0 ≤ begin ≤ end ≤ limit, at multiples of `unit`. */
  range(of: string, begin: number, end: number, limit: number, unit = 1): void {
    if (begin > end) this.fail(`${of}End`, `at least ${begin}, where the range begins`, String(end));
    this.count(`${of}Begin`, begin, { most: limit, unit });
    this.count(`${of}End`, end, { most: limit, unit });
  }

  /** `sizeBytes` bytes of the arena. Of no bytes the pointer does not matter. */
  bytes(name: string, ptr: Ptr, sizeBytes: number, alignmentBytes = 1): void {
    if (sizeBytes === 0) return;
    const end = ptr + sizeBytes;
    if (!Number.isSafeInteger(ptr) || ptr < ARENA_RESERVED_BYTES || end > this.#arena.sizeBytes) {
      const bounds = `${ARENA_RESERVED_BYTES} to ${this.#arena.sizeBytes}`;
      this.fail(name, `${sizeBytes} bytes within the arena's ${bounds}`, `an address of ${ptr}`);
    }
    if (ptr % alignmentBytes !== 0) this.fail(name, `a multiple of ${alignmentBytes}`, `an address of ${ptr}`);
  }

  /** f32 `[count]`. */
  f32(name: string, ptr: Ptr, count: number): void {
    this.bytes(name, ptr, 4 * count, 4);
  }

  /** f32 `[count]`, or 0 for none. */
  f32OrNone(name: string, ptr: Ptr, count: number): void {
    if (ptr !== 0) this.f32(name, ptr, count);
  }

  /** u32 `[count]`, which the host has written: returns them. */
  u32(name: string, ptr: Ptr, count: number): Uint32Array {
    this.bytes(name, ptr, 4 * count, 4);
    return count === 0 ? NONE : this.#arena.u32(ptr, count);
  }

  /** Two operands without a byte in common. */
  apart(a: Extent, b: Extent): void {
    if (a.sizeBytes === 0 || b.sizeBytes === 0) return;
    if (a.ptr + a.sizeBytes <= b.ptr || b.ptr + b.sizeBytes <= a.ptr) return;
    const found = `${a.sizeBytes} bytes at ${a.ptr}, and ${b.sizeBytes} of ${b.name} at ${b.ptr}`;
    this.fail(a.name, `no byte in common with ${b.name}`, found);
  }

  fail(name: string, expected: string, found: string): never {
    const message = `${this.#op}: ${name}: expected ${expected}, found ${found}; see the op in contract.ts of @flashwick/kernels`;
    throw new FlashwickError("SHAPE", message, { details: { op: this.#op, operand: name, expected, found } });
  }
}

const NONE = new Uint32Array(0);
