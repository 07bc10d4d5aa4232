/** Against gguf-py's values of the same bytes (fixtures/README.md). */
import { readFileSync } from "node:fs";
import {
  BLOCK_DTYPES,
  type BlockDType,
  blockBytes,
  blockElements,
  encodeBfloat16,
  encodeFloat16,
} from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { decodeRow } from "./row-decoder.js";

interface KnownBlocks {
  readonly blockElements: number;
  readonly blockBytes: number;
  readonly cases: readonly { name: string; blocks: number; bytes: string; values: string }[];
}

function knownBlocks(dtype: BlockDType): KnownBlocks {
  const url = new URL(`../../fixtures/ggml-types/${dtype.toUpperCase()}.json`, import.meta.url);
  return JSON.parse(readFileSync(url, "utf8")) as KnownBlocks;
}

function floats(base64: string): number[] {
  const bytes = Buffer.from(base64, "base64");
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

describe.each(BLOCK_DTYPES)("%s", (dtype) => {
  const known = knownBlocks(dtype);

  it("has the known size", () => {
    expect([blockElements(dtype), blockBytes(dtype)]).toEqual([known.blockElements, known.blockBytes]);
  });

  it.each(known.cases)(
    "$name blocks have the known values, bit for bit but for zeros' signs",
    ({ blocks, bytes, values }) => {
      const raw = Buffer.from(bytes, "base64");
      const cols = blocks * known.blockElements;
      // In the midst of other bytes, which are not read.
      const around = new Uint8Array(raw.length + 2).fill(0xff);
      around.set(raw, 1);
      const out = new Float32Array(cols + 1).fill(7);
      decodeRow(dtype, around, 1, cols, out);
      const found = Array.from(out.subarray(0, cols), (value) => value + 0);
      expect(found).toEqual(floats(values).map((value) => value + 0));
      expect(out[cols]).toBe(7);
    },
  );
});

describe("plain rows", () => {
  const values = [1.5, -0.25, 3, 0];
  const rows = {
    f32: new Uint8Array(Float32Array.from(values).buffer),
    f16: new Uint8Array(Uint16Array.from(values, encodeFloat16).buffer),
    bf16: new Uint8Array(Uint16Array.from(values, encodeBfloat16).buffer),
  };

  it.each(Object.entries(rows))("%s elements at any offset", (dtype, bytes) => {
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    const out = new Float32Array(4);
    decodeRow(dtype as "f32", shifted, 3, 4, out);
    expect([...out]).toEqual(values);
  });

  it("int8 gives the integers", () => {
    const out = new Float32Array(3);
    decodeRow("int8", Uint8Array.of(127, 129, 255), 0, 3, out);
    expect([...out]).toEqual([127, -127, -1]);
  });
});
