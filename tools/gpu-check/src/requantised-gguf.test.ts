import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { decodeRow } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { requantiseGguf } from "./requantised-gguf.js";

const source = new Uint8Array(
  readFileSync(fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/llama.gguf", import.meta.url))),
);

describe("a GGUF with its Q5_K as Q8_0", async () => {
  const made = await requantiseGguf(source, ["Q5_K"]);
  const [before, after] = await Promise.all(
    [source, made].map(async (bytes) => (await openModelFile(memorySource(bytes, "model"))).header),
  );

  it("keeps every other tensor's bytes", () => {
    for (const [layer, matrices] of before!.matrices.entries()) {
      for (const [name, old] of Object.entries(matrices)) {
        const kept = after!.matrices[layer]![name as keyof typeof matrices]!;
        if (old.dtype === "q5_k") continue;
        expect(kept.dtype).toBe(old.dtype);
        const bytesOf = (bytes: Uint8Array, at: number) => Buffer.from(bytes.subarray(at, at + old.sizeBytes));
        expect(bytesOf(made, kept.offset).equals(bytesOf(source, old.offset))).toBe(true);
      }
    }
  });

  it("is off by at most half a step of each block in those", () => {
    const old = before!.matrices[0]!.output;
    const kept = after!.matrices[0]!.output;
    expect([old.dtype, kept.dtype]).toEqual(["q5_k", "q8_0"]);
    const values = (bytes: Uint8Array, { dtype, offset, rows, cols }: typeof old) => {
      const out = new Float32Array(rows * cols);
      decodeRow(dtype, bytes, offset, out.length, out);
      return out;
    };
    const [expected, found] = [values(source, old), values(made, kept)];
    for (let k = 0; k < expected.length; k += 32) {
      const block = expected.subarray(k, k + 32);
      const most = block.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
      // Half a step, and what rounding the scale to f16 moves the largest by.
      for (const [i, value] of block.entries())
        expect(Math.abs(found[k + i]! - value)).toBeLessThan((most / 127) * 0.6);
    }
  });
});
