/** Inputs as GGUF headers: pairs and tensors of a header that can be read become others, and the header is written anew, in its form. */
import type { Random } from "@flashwick/core";
import {
  decodeGgufHeader,
  encodeGgufHeader,
  type GgufHeader,
  type GgufTensor,
  type GgufValue,
} from "@flashwick/flash-format";

const MOST_CHANGES = 3;
const NUMBERS = [0, 1, 2, 3, 8, 31, 64, 127, 255, 4096, 65535, 65536, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const TYPES = ["F32", "F16", "BF16", "I8", "I32", "Q4_0", "Q8_0", "Q4_K", "Q6_K", "MXFP4", "F64", 99] as const;

/** Changes headers. */
export class GgufMutator {
  readonly #random: Random;
  readonly #words: readonly string[];
  /** Headers, decoded once. */
  readonly #decoded = new WeakMap<Uint8Array, GgufHeader | null>();

  /** @param words Keys, names and texts that mean something to the reader. */
  constructor(random: Random, words: readonly string[]) {
    this.#random = random;
    this.#words = words;
  }

  /** @returns Null where the parent is no header, or what was made of it cannot be written. */
  mutate(parent: Uint8Array): Uint8Array | null {
    const known = this.#decode(parent);
    if (known === null) return null;
    const metadata = new Map(known.metadata);
    const tensors = [...known.tensors];
    for (let left = 1 + this.#random.below(MOST_CHANGES); left > 0; left--) {
      if (tensors.length > 0 && this.#random.below(3) === 0) this.#changeTensor(tensors);
      else this.#changePair(metadata);
    }
    try {
      return encodeGgufHeader({ metadata, tensors }).bytes;
    } catch {
      return null;
    }
  }

  #decode(input: Uint8Array): GgufHeader | null {
    const known = this.#decoded.get(input);
    if (known !== undefined) return known;
    const decoded = decode(input);
    this.#decoded.set(input, decoded);
    return decoded;
  }

  #changePair(metadata: Map<string, GgufValue>): void {
    const keys = [...metadata.keys()];
    const key = keys[this.#random.below(Math.max(1, keys.length))];
    switch (this.#random.below(6)) {
      case 0:
        if (key !== undefined) metadata.delete(key);
        return;
      case 1:
        metadata.set(this.#word(), this.#value());
        return;
      case 2:
        if (key !== undefined) metadata.set(key, this.#value());
        return;
      default:
        if (key !== undefined) metadata.set(key, this.#near(metadata.get(key)!));
    }
  }

  /** A value of the same kind, mostly. */
  #near(value: GgufValue): GgufValue {
    switch (value.type) {
      case "bool":
        return { type: "bool", value: !value.value };
      case "string":
        return { type: "string", value: this.#random.below(2) === 0 ? this.#word() : this.#cut(value.value) };
      case "u64":
      case "i64":
        return { type: value.type, value: this.#random.below(4) === 0 ? 2n ** 63n - 1n : BigInt(this.#number()) };
      case "array":
        return this.#nearArray(value);
      default:
        return { type: value.type, value: this.#random.below(2) === 0 ? value.value + 1 : this.#number() };
    }
  }

  #nearArray(array: Extract<GgufValue, { type: "array" }>): GgufValue {
    const { value } = array;
    const at = this.#random.below(Math.max(1, value.length));
    if (this.#random.below(3) === 0) return { ...array, value: value.slice(0, at) } as GgufValue;
    const changed = value.slice() as { [index: number]: unknown; length: number };
    const before = changed[at];
    if (typeof before === "number") changed[at] = this.#number();
    else if (typeof before === "bigint") changed[at] = BigInt(this.#number());
    else if (typeof before === "string") changed[at] = this.#random.below(2) === 0 ? this.#word() : this.#cut(before);
    else if (typeof before === "boolean") changed[at] = !before;
    return { ...array, value: changed } as unknown as GgufValue;
  }

  #value(): GgufValue {
    switch (this.#random.below(7)) {
      case 0:
        return { type: "bool", value: true };
      case 1:
        return {
          type: "f32",
          value: [0, 1, 1e-5, Number.NaN, Number.POSITIVE_INFINITY, -1e30][this.#random.below(6)]!,
        };
      case 2:
        return { type: "u64", value: BigInt(this.#number()) };
      case 3:
        return {
          type: "array",
          of: "string",
          value: Array.from({ length: this.#random.below(40) }, () => this.#word()),
        };
      case 4:
        return {
          type: "array",
          of: "u32",
          value: Uint32Array.from({ length: this.#random.below(40) }, () => this.#number()),
        };
      case 5:
        return { type: "string", value: this.#word() };
      default:
        return { type: "u32", value: this.#number() };
    }
  }

  #number(): number {
    return this.#random.below(3) === 0 ? this.#random.below(300) : NUMBERS[this.#random.below(NUMBERS.length)]!;
  }

  #word(): string {
    return this.#words[this.#random.below(Math.max(1, this.#words.length))] ?? "";
  }

  #cut(text: string): string {
    const at = this.#random.below(text.length + 1);
    return text.slice(0, at) + this.#word() + text.slice(at + this.#random.below(4));
  }

  #changeTensor(tensors: GgufTensor[]): void {
    const at = this.#random.below(tensors.length);
    const tensor = tensors[at]!;
    switch (this.#random.below(6)) {
      case 0:
        tensors.splice(at, 1);
        return;
      case 1:
        tensors[at] = { ...tensor, name: this.#word() };
        return;
      case 2:
        tensors[at] = { ...tensor, type: TYPES[this.#random.below(TYPES.length)]! };
        return;
      case 3:
        tensors[at] = { ...tensor, offset: this.#number() * (this.#random.below(2) === 0 ? 1 : 4096) };
        return;
      case 4:
        return void (tensors[at] = {
          ...tensor,
          shape: tensor.shape.map((n) => (this.#random.below(2) === 0 ? n : this.#number())),
        });
      default:
        return void (tensors[at] = {
          ...tensor,
          shape: [...tensor.shape, this.#number()].slice(this.#random.below(3)),
        });
    }
  }
}

function decode(input: Uint8Array): GgufHeader | null {
  try {
    return decodeGgufHeader(input, "input");
  } catch {
    return null;
  }
}
