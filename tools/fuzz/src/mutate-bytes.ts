/** Inputs as bytes: a few changes of the kinds that break parsers, one on top of the other (AFL's "havoc"). */
import type { Random } from "@flashwick/core";
import { bytesOf } from "./harness.js";

/** Numbers at which counts, sizes and signs turn over. */
const EDGES = [
  0, 1, 2, 7, 8, 31, 32, 63, 64, 127, 128, 255, 256, 1000, 1024, 4095, 4096, 32767, 32768, 65535, 65536, 16777216,
  2147483647, 2147483648, 4294967295,
];
const MOST_CHANGES = 6;

/** Changes bytes in a buffer of its own, which the next call overwrites. */
export class ByteMutator {
  readonly #random: Random;
  readonly #words: readonly Uint8Array[];
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #length = 0;

  /** @param words What means something to the reader. @param maxBytes Of what is made. */
  constructor(random: Random, words: readonly string[], maxBytes: number) {
    this.#random = random;
    this.#words = words.map(bytesOf);
    this.#buffer = new Uint8Array(maxBytes);
    this.#view = new DataView(this.#buffer.buffer);
  }

  /** @param other Another input, of which parts may be taken. @returns Valid until the next call. */
  mutate(parent: Uint8Array, other: Uint8Array): Uint8Array {
    this.#length = Math.min(parent.length, this.#buffer.length);
    this.#buffer.set(parent.subarray(0, this.#length));
    for (let left = 1 + this.#random.below(MOST_CHANGES); left > 0; left--) this.#change(other);
    return this.#buffer.subarray(0, this.#length);
  }

  #change(other: Uint8Array): void {
    const at = this.#random.below(Math.max(1, this.#length));
    switch (this.#random.below(11)) {
      case 0:
        this.#buffer[at]! ^= 1 << this.#random.below(8);
        return;
      case 1:
        this.#buffer[at] = this.#random.below(256);
        return;
      case 2:
        this.#edge(at);
        return;
      case 3:
        this.#buffer[at]! += this.#random.below(9) - 4;
        return;
      case 4:
        this.#remove(at, this.#span());
        return;
      case 5:
        this.#insert(at, this.#buffer.slice(at, Math.min(this.#length, at + this.#span())));
        return;
      case 6:
        this.#insert(at, partOf(other, this.#random, this.#span()));
        return;
      case 7:
        this.#overwrite(at, partOf(other, this.#random, this.#span()));
        return;
      case 8:
        this.#words.length > 0 ? this.#insert(at, this.#word()) : this.#edge(at);
        return;
      case 9:
        this.#words.length > 0 ? this.#overwrite(at, this.#word()) : this.#edge(at);
        return;
      default:
        if (this.#random.below(4) === 0) this.#length = at;
    }
  }

  #word(): Uint8Array {
    return this.#words[this.#random.below(this.#words.length)]!;
  }

  /** Mostly short. */
  #span(): number {
    return 1 + this.#random.below(1 << this.#random.below(10));
  }

  #edge(at: number): void {
    const edge = EDGES[this.#random.below(EDGES.length)]!;
    const value = this.#random.below(4) === 0 ? -edge : edge;
    const width = 1 << this.#random.below(4);
    if (at + width > this.#length) return;
    if (width === 1) this.#view.setInt8(at, value);
    else if (width === 2) this.#view.setInt16(at, value, true);
    else if (width === 4) this.#view.setInt32(at, value, true);
    else this.#view.setBigInt64(at, this.#random.below(4) === 0 ? BigInt(value) << 32n : BigInt(value), true);
  }

  #remove(at: number, count: number): void {
    const end = Math.min(this.#length, at + count);
    this.#buffer.copyWithin(at, end, this.#length);
    this.#length -= end - at;
  }

  #insert(at: number, bytes: Uint8Array): void {
    const count = Math.min(bytes.length, this.#buffer.length - this.#length);
    this.#buffer.copyWithin(at + count, at, this.#length);
    this.#buffer.set(bytes.subarray(0, count), at);
    this.#length += count;
  }

  #overwrite(at: number, bytes: Uint8Array): void {
    const count = Math.min(bytes.length, this.#buffer.length - at);
    this.#buffer.set(bytes.subarray(0, count), at);
    this.#length = Math.max(this.#length, at + count);
  }
}

function partOf(bytes: Uint8Array, random: Random, length: number): Uint8Array {
  const at = random.below(Math.max(1, bytes.length));
  return bytes.subarray(at, at + length);
}
