import { isFlashwickError, memorySource } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { concat, elements, safetensors, safetensorsFile, utf8 } from "./checkpoint-fixture.js";
import { readSafetensors } from "./safetensors.js";

const DATA = elements("f16", [1, 2, 3, 4, 5, 6]);
const ENTRY = { dtype: "F16", shape: [2, 3], data_offsets: [0, 12] };

function read(bytes: Uint8Array) {
  return readSafetensors(memorySource(bytes, "model.safetensors"));
}

describe("readSafetensors", () => {
  it("locates tensors of all three types", async () => {
    const tensor = (dtype: string, source: "f32" | "f16" | "bf16") => ({
      dtype,
      shape: [2],
      bytes: elements(source, [1, 2]),
    });
    const file = new Map([
      ["a", tensor("F32", "f32")],
      ["b", tensor("F16", "f16")],
      ["c", tensor("BF16", "bf16")],
    ]);
    const bytes = safetensors(file);
    const tensors = await read(bytes);
    for (const [name, { bytes: expected }] of file) {
      const { offset } = tensors.get(name)!;
      expect(bytes.subarray(offset, offset + expected.length)).toEqual(expected);
    }
    expect([...tensors.values()].map(({ dtype }) => dtype)).toEqual(["f32", "f16", "bf16"]);
  });

  it("lists tensors of types that conversion does not read", async () => {
    const tensors = await read(
      safetensorsFile({ mask: { dtype: "I64", shape: [1], data_offsets: [0, 8] } }, DATA.slice(0, 8)),
    );
    expect(tensors.get("mask")).toMatchObject({ dtype: null, storedDType: "I64" });
  });

  it("allows a header padded with spaces", async () => {
    expect((await read(safetensorsFile(`${JSON.stringify({ w: ENTRY })}     `, DATA))).size).toBe(1);
  });

  it.each([
    ["an end beyond the file", { w: { ...ENTRY, shape: [2, 4], data_offsets: [0, 16] } }, "tensor w"],
    ["an end before the begin", { w: { ...ENTRY, data_offsets: [12, 0] } }, "tensor w"],
    [
      "a size that is not that of the shape",
      { w: { ...ENTRY, shape: [2, 2] } },
      "expected 8 bytes for F16 [2, 2], found 12",
    ],
    ["an absurd shape", { w: { ...ENTRY, shape: [2 ** 52, 2 ** 52] } }, "tensor w"],
    ["a negative dimension", { w: { ...ENTRY, shape: [-2, -3] } }, "w.shape.0"],
    ["a fraction as an offset", { w: { ...ENTRY, data_offsets: [0.5, 12] } }, "w.data_offsets.0"],
    ["a missing type", { w: { shape: [2, 3], data_offsets: [0, 12] } }, "w.dtype"],
    ["overlapping tensors", { v: ENTRY, w: { dtype: "F16", shape: [3], data_offsets: [6, 12] } }, "overlap"],
    [
      "a gap between tensors",
      { v: { dtype: "F16", shape: [2], data_offsets: [0, 4] }, w: { dtype: "F16", shape: [3], data_offsets: [6, 12] } },
      "gap of 2 bytes",
    ],
    ["bytes behind the last tensor", { w: { dtype: "F16", shape: [2], data_offsets: [0, 4] } }, "found 8 more bytes"],
    ["a header that is no object", "[]", "begin with {"],
    ["a header that is no JSON", "{{", "JSON"],
  ])("refuses %s", async (_what, header, problem) => {
    await expect(read(safetensorsFile(header, DATA))).rejects.toMatchObject({
      code: "CHECKPOINT_FILE",
      message: expect.stringContaining(problem),
    });
  });

  it.each([0n, 1n, 2n ** 24n + 1n, 2n ** 63n])("refuses a header of %d bytes without allocating it", async (length) => {
    const file = concat([new Uint8Array(new BigUint64Array([length]).buffer), new Uint8Array(64)]);
    await expect(read(file)).rejects.toMatchObject({ code: "CHECKPOINT_FILE" });
  });

  it("gives a typed error at every truncation", async () => {
    const bytes = safetensorsFile({ w: ENTRY }, DATA);
    for (let length = 0; length < bytes.length; length++) {
      await expect(read(bytes.subarray(0, length))).rejects.toSatisfy(isFlashwickError);
    }
  });

  it("refuses a git-lfs pointer", async () => {
    await expect(read(utf8("version https://git-lfs.github.com/spec/v1\n"))).rejects.toMatchObject({
      code: "CHECKPOINT_FILE",
    });
  });
});
