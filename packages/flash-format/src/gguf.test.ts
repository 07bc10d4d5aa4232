import { isFlashwickError } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  GGUF_NUMBER_ARRAYS,
  type GgufArray,
  type GgufHeader,
  type GgufTensor,
  type GgufValue,
  MAX_ARRAY_LENGTH,
  MAX_NESTED_ARRAYS,
} from "./gguf.js";
import { decodeGgufHeader, HeaderCutShort } from "./gguf-decoder.js";
import { encodeGgufHeader } from "./gguf-encoder.js";

const text = fc.string({ unit: "binary", maxLength: 12 });
const integer = (least: number, most: number) => fc.integer({ min: least, max: most });
const f32 = fc.float({ noNaN: true });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const numberOf = {
  u8: integer(0, 255),
  i8: integer(-128, 127),
  u16: integer(0, 65535),
  i16: integer(-32768, 32767),
  u32: integer(0, 2 ** 32 - 1),
  i32: integer(-(2 ** 31), 2 ** 31 - 1),
  f32,
  f64: fc.double({ noNaN: true }),
};

const scalar: fc.Arbitrary<GgufValue> = fc.oneof(
  ...Object.entries(numberOf).map(([type, value]) => value.map((v) => ({ type, value: v }) as GgufValue)),
  u64.map((value): GgufValue => ({ type: "u64", value })),
  i64.map((value): GgufValue => ({ type: "i64", value })),
  fc.boolean().map((value): GgufValue => ({ type: "bool", value })),
  text.map((value): GgufValue => ({ type: "string", value })),
);

const flatArray: fc.Arbitrary<GgufArray> = fc.oneof(
  ...Object.entries(numberOf).map(([of, value]) =>
    fc.array(value, { maxLength: 5 }).map((values) => {
      const typed = GGUF_NUMBER_ARRAYS[of as keyof typeof numberOf].from(values);
      return { type: "array", of, value: typed } as unknown as GgufArray;
    }),
  ),
  fc.array(u64, { maxLength: 4 }).map((v): GgufArray => ({ type: "array", of: "u64", value: BigUint64Array.from(v) })),
  fc.array(i64, { maxLength: 4 }).map((v): GgufArray => ({ type: "array", of: "i64", value: BigInt64Array.from(v) })),
  fc.array(fc.boolean(), { maxLength: 5 }).map((value): GgufArray => ({ type: "array", of: "bool", value })),
  fc.array(text, { maxLength: 4 }).map((value): GgufArray => ({ type: "array", of: "string", value })),
);
const nestedArray = fc
  .array(flatArray, { maxLength: 3 })
  .map((value): GgufArray => ({ type: "array", of: "array", value }));

const tensor: fc.Arbitrary<Omit<GgufTensor, "name">> = fc.record({
  shape: fc.array(integer(1, 1000), { maxLength: 4 }),
  type: fc.constantFrom<GgufTensor["type"]>("F32", "F16", "BF16", "I8", "I32", "Q4_K", 4, 16),
  offset: integer(0, 2 ** 40),
});
const header: fc.Arbitrary<GgufHeader> = fc.record({
  metadata: fc
    .dictionary(text, fc.oneof(scalar, flatArray, nestedArray), { maxKeys: 8 })
    .map((entries) => new Map(Object.entries(entries))),
  tensors: fc
    .dictionary(text, tensor, { maxKeys: 4 })
    .map((entries) => Object.entries(entries).map(([name, rest]) => ({ name, ...rest }))),
});

describe("GGUF header", () => {
  it("comes back as it was: every value type, nested arrays, tensor table", () => {
    fc.assert(
      fc.property(header, (original) => {
        const { bytes, valueOffsets } = encodeGgufHeader(original);
        const decoded = decodeGgufHeader(bytes, "test");
        expect(decoded.metadata).toEqual(original.metadata);
        expect(decoded.tensors).toEqual(original.tensors);
        expect(decoded.headerBytes).toBe(bytes.length);
        expect(decoded.valueOffsets).toEqual(valueOffsets);
      }),
    );
  });

  it("asks for more bytes wherever it is cut, and never for more than there are", () => {
    fc.assert(
      fc.property(header, fc.nat(), (original, seed) => {
        const { bytes } = encodeGgufHeader(original);
        const cut = seed % bytes.length;
        try {
          decodeGgufHeader(bytes.subarray(0, cut), "test");
          expect.unreachable();
        } catch (error) {
          expect(error).toBeInstanceOf(HeaderCutShort);
          expect((error as HeaderCutShort).neededBytes).toBeGreaterThan(cut);
          expect((error as HeaderCutShort).neededBytes).toBeLessThanOrEqual(bytes.length);
        }
      }),
    );
  });

  it("answers any flipped byte with a header or a typed error", () => {
    fc.assert(
      fc.property(header, fc.nat(), integer(1, 255), (original, seed, flip) => {
        const { bytes } = encodeGgufHeader(original);
        bytes[seed % bytes.length]! ^= flip;
        try {
          decodeGgufHeader(bytes, "test");
        } catch (error) {
          expect(error instanceof HeaderCutShort || isFlashwickError(error)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** A header built by hand, field by field. */
class HandMade {
  readonly #bytes: number[] = [];
  u8(value: number): this {
    this.#bytes.push(value);
    return this;
  }
  u32(value: number): this {
    for (let i = 0; i < 4; i++) this.#bytes.push((value >>> (8 * i)) & 255);
    return this;
  }
  u64(value: bigint): this {
    for (let i = 0n; i < 8n; i++) this.#bytes.push(Number((value >> (8n * i)) & 255n));
    return this;
  }
  text(value: string): this {
    this.u64(BigInt(value.length));
    for (const character of value) this.#bytes.push(character.charCodeAt(0));
    return this;
  }
  start(tensors: bigint, pairs: bigint, version = 3): this {
    for (const character of "GGUF") this.#bytes.push(character.charCodeAt(0));
    return this.u32(version).u64(tensors).u64(pairs);
  }
  bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
  /** Its error's code when decoded. */
  code(): string {
    try {
      decodeGgufHeader(this.bytes(), "hand-made");
      return "none";
    } catch (error) {
      return isFlashwickError(error) ? error.code : (error as Error).constructor.name;
    }
  }
}

const HUGE = 2n ** 63n;
const start = (tensors: bigint, pairs: bigint) => new HandMade().start(tensors, pairs);

describe("hostile GGUF headers allocate nothing and are refused", () => {
  it.each<[string, HandMade, string]>([
    ["tensor count 2^63", start(HUGE, 0n), "FORMAT_LIMIT"],
    ["metadata count 2^63", start(0n, HUGE), "FORMAT_LIMIT"],
    ["metadata count 2^64-1", start(0n, 2n ** 64n - 1n), "FORMAT_LIMIT"],
    ["key length 2^63", start(0n, 1n).u64(HUGE), "FORMAT_LIMIT"],
    ["string length 2^63", start(0n, 1n).text("k").u32(8).u64(HUGE), "FORMAT_LIMIT"],
    ["array length 2^63", start(0n, 1n).text("k").u32(9).u32(4).u64(HUGE), "FORMAT_LIMIT"],
    [
      "array length within the limit but beyond the bytes",
      start(0n, 1n)
        .text("k")
        .u32(9)
        .u32(8)
        .u64(2n ** 24n),
      "HeaderCutShort",
    ],
    [
      "arrays five deep",
      start(0n, 1n).text("k").u32(9).u32(9).u64(1n).u32(9).u64(1n).u32(9).u64(1n).u32(9).u64(1n).u32(0).u64(0n),
      "FORMAT_LIMIT",
    ],
    ["array element type 13", start(0n, 1n).text("k").u32(9).u32(13).u64(0n), "FORMAT_INVALID"],
    ["value type 13", start(0n, 1n).text("k").u32(13), "FORMAT_INVALID"],
    ["boolean 2", start(0n, 1n).text("k").u32(7).u8(2), "FORMAT_INVALID"],
    ["a key twice", start(0n, 2n).text("k").u32(0).u8(1).text("k").u32(0).u8(1), "FORMAT_INVALID"],
    ["a key that is no UTF-8", start(0n, 1n).u64(1n).u8(0xff), "FORMAT_INVALID"],
    ["tensor name length 2^63", start(1n, 0n).u64(HUGE), "FORMAT_LIMIT"],
    ["five dimensions", start(1n, 0n).text("t").u32(5), "FORMAT_LIMIT"],
    ["a dimension of 2^63", start(1n, 0n).text("t").u32(1).u64(HUGE), "FORMAT_LIMIT"],
    [
      "dimensions whose product is 2^80",
      start(1n, 0n)
        .text("t")
        .u32(2)
        .u64(2n ** 40n)
        .u64(2n ** 40n),
      "FORMAT_LIMIT",
    ],
    ["a tensor offset of 2^63", start(1n, 0n).text("t").u32(0).u32(0).u64(HUGE), "FORMAT_LIMIT"],
    ["a tensor twice", start(2n, 0n).text("t").u32(0).u32(0).u64(0n).text("t").u32(0).u32(0).u64(0n), "FORMAT_INVALID"],
    ["version 2", new HandMade().start(0n, 0n, 2), "FORMAT_VERSION"],
    ["a big-endian file", new HandMade().start(0n, 0n, 3 << 24), "FORMAT_VERSION"],
    ["another magic", new HandMade().u32(0x12345678), "FORMAT_NOT_GGUF"],
    ["a short file of another kind", new HandMade().u8(0x7b), "FORMAT_NOT_GGUF"],
  ])("%s", (_, handMade, code) => {
    expect(handMade.code()).toBe(code);
  });
});

describe("nested arrays cost 45 times their bytes in memory", () => {
  const empty = (header: HandMade, count: number) => {
    for (let i = 0; i < count; i++) header.u32(0).u64(0n);
    return header;
  };
  /** `count` empty arrays in each of `keys` arrays. */
  const nested = (count: number, keys = 1) => {
    const header = start(0n, BigInt(keys));
    for (let k = 0; k < keys; k++) empty(header.text(`k${k}`).u32(9).u32(9).u64(BigInt(count)), count);
    return header;
  };

  it("as many as any file could mean are read", () => {
    expect(nested(MAX_NESTED_ARRAYS).code()).toBe("none");
  });
  it("one more is refused, before any is decoded", () => {
    const decode = () => decodeGgufHeader(nested(MAX_NESTED_ARRAYS + 1).bytes(), "hostile.gguf");
    // 24 bytes of preamble, 10 of the key, 4 of the value's type.
    expect(decode).toThrowError(
      /^hostile\.gguf @ 38: "k0": arrays within arrays in this header: expected at most 65536, found 65537/,
    );
    expect(decode).toThrowError(expect.objectContaining({ code: "FORMAT_LIMIT" }));
  });
  it("many keys with a few each are counted together", () => {
    expect(nested(MAX_NESTED_ARRAYS / 2, 2).code()).toBe("none");
    expect(nested(MAX_NESTED_ARRAYS / 2 + 1, 2).code()).toBe("FORMAT_LIMIT");
  });
  it("deeper ones are counted with the others", () => {
    const half = MAX_NESTED_ARRAYS / 2;
    const header = start(0n, 1n)
      .text("k")
      .u32(9)
      .u32(9)
      .u64(BigInt(half + 1));
    // The first holds the others.
    empty(header.u32(9).u64(BigInt(half)), half);
    expect(empty(header, half).code()).toBe("FORMAT_LIMIT");
  });
  it("booleans and strings of all arrays are counted together, too", () => {
    const each = MAX_ARRAY_LENGTH / 2 + 1;
    const header = start(0n, 2n);
    const [first, second] = ["a", "b"].map((key) => new HandMade().text(key).u32(9).u32(7).u64(BigInt(each)).bytes());
    const whole = Buffer.concat([header.bytes(), first!, Buffer.alloc(each), second!, Buffer.alloc(each)]);
    expect(() => decodeGgufHeader(whole, "hostile.gguf")).toThrowError(
      /"b": strings and booleans in arrays of this header: expected at most 16777216, found 16777218/,
    );
  });
});
