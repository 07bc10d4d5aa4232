import { isFlashwickError, memorySource } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  elements,
  pickle,
  pickledDict,
  pickledTensor,
  type StorageView,
  tinyTensors,
  torchFile,
  utf8,
  zip,
} from "./checkpoint-fixture.js";
import { readTorchFile } from "./torch-file.js";

const STORAGE = elements(
  "f16",
  Array.from({ length: 24 }, (_, i) => i),
);
const VIEW: StorageView = { storage: "HalfStorage", key: "7", elements: 24, offset: 0, shape: [4, 6], strides: [6, 1] };

/** An archive of views of one storage. */
function entries(views: Readonly<Record<string, Partial<StorageView>>>): Map<string, Uint8Array> {
  const items = new Map(Object.entries(views).map(([name, view]) => [name, pickledTensor({ ...VIEW, ...view })]));
  return new Map([
    ["archive/data.pkl", pickle(pickledDict(items))],
    ["archive/byteorder", utf8("little")],
    ["archive/data/7", STORAGE],
  ]);
}

function read(bytes: Uint8Array) {
  return readTorchFile(memorySource(bytes, "weights.bin"));
}

/** The first element of a tensor, read from where the directory says it is. */
function firstElement(bytes: Uint8Array, offset: number): Uint8Array {
  return bytes.subarray(offset, offset + 2);
}

describe("readTorchFile", () => {
  it("locates views of a shared storage in place", async () => {
    const bytes = zip(entries({ whole: {}, tail: { offset: 18, shape: [6], strides: [1] } }));
    const tensors = await read(bytes);
    const [whole, tail] = [tensors.get("whole")!, tensors.get("tail")!];
    expect(tail.offset - whole.offset).toBe(36);
    expect(firstElement(bytes, tail.offset)).toEqual(STORAGE.subarray(36, 38));
    expect(tail).toMatchObject({ dtype: "f16", storedDType: "torch.HalfStorage", shape: [6], contiguous: true });
  });

  it("reads a ZIP64 archive the same", async () => {
    const plain = zip(entries({ w: {} }));
    const wide = zip(entries({ w: {} }), { zip64: true });
    const at = (await read(wide)).get("w")!.offset;
    expect(at).toBe((await read(plain)).get("w")!.offset);
    expect(wide.subarray(at, at + 48)).toEqual(STORAGE);
  });

  it("finds the directory behind an archive comment", async () => {
    const bytes = zip(entries({ w: {} }));
    const commented = new Uint8Array(bytes.length + 9);
    commented.set(bytes);
    commented[bytes.length - 2] = 9;
    expect((await read(commented)).size).toBe(1);
  });

  it.each([
    ["transposed", { shape: [6, 4], strides: [1, 6] }, false],
    ["every other row", { shape: [2, 6], strides: [12, 1] }, false],
    ["expanded", { shape: [4, 6], strides: [0, 1] }, false],
    ["one row, whatever its stride", { shape: [1, 6], strides: [1, 1] }, true],
    ["a scalar", { shape: [], strides: [] }, true],
  ])("knows if a view is contiguous: %s", async (_what, view, contiguous) => {
    expect((await read(zip(entries({ w: view })))).get("w")!.contiguous).toBe(contiguous);
  });

  it.each([
    [
      "big-endian",
      (e: Map<string, Uint8Array>) => e.set("archive/byteorder", utf8("big")),
      "UNSUPPORTED_FEATURE",
      "big",
    ],
    ["without data.pkl", (e: Map<string, Uint8Array>) => e.delete("archive/data.pkl"), "CHECKPOINT_FILE", "data.pkl"],
    ["without a storage", (e: Map<string, Uint8Array>) => e.delete("archive/data/7"), "CHECKPOINT_FILE", "data/7"],
    [
      "with a short storage",
      (e: Map<string, Uint8Array>) => e.set("archive/data/7", STORAGE.subarray(2)),
      "CHECKPOINT_FILE",
      "expected 48 bytes, found 46",
    ],
  ])("refuses a file %s", async (_what, change, code, problem) => {
    const changed = entries({ w: {} });
    change(changed);
    await expect(read(zip(changed))).rejects.toMatchObject({ code, message: expect.stringContaining(problem) });
  });

  it("refuses compressed entries", async () => {
    await expect(read(zip(entries({ w: {} }), { method: 8 }))).rejects.toMatchObject({
      code: "CHECKPOINT_FILE",
      message: expect.stringContaining("compression method 8"),
    });
  });

  it("says what to do about the form before torch 1.6", async () => {
    const magic = Uint8Array.of(
      0x80,
      0x02,
      0x8a,
      0x0a,
      0x6c,
      0xfc,
      0x9c,
      0x46,
      0xf9,
      0x20,
      0x6a,
      0xa8,
      0x50,
      0x19,
      0x2e,
    );
    await expect(read(magic)).rejects.toMatchObject({
      code: "UNSUPPORTED_FEATURE",
      message: expect.stringContaining("torch 1.6"),
    });
  });

  it("refuses files that are nothing of the kind", async () => {
    await expect(read(utf8("version https://git-lfs.github.com/spec/v1"))).rejects.toMatchObject({
      code: "CHECKPOINT_FILE",
    });
    await expect(read(utf8("PK"))).rejects.toSatisfy(isFlashwickError);
    await expect(read(new Uint8Array(0))).rejects.toSatisfy(isFlashwickError);
  });

  it("gives a typed error at every truncation", async () => {
    const bytes = zip(entries({ w: {} }), { zip64: true });
    for (let length = 0; length < bytes.length; length++) {
      await expect(read(bytes.subarray(0, length))).rejects.toSatisfy(isFlashwickError);
    }
  });

  it("gives tensors inside the file or a typed error, whatever bytes are changed", async () => {
    const healthy = torchFile(new Map([...tinyTensors()].slice(0, 3)));
    const changes = fc.array(fc.tuple(fc.nat(healthy.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const bytes = healthy.slice();
        for (const [at, value] of list) bytes[at] = value;
        const result = await read(bytes).catch((error: unknown) => error);
        if (!(result instanceof Map)) expect(result).toSatisfy(isFlashwickError);
        else for (const { offset } of result.values()) expect(offset).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 500 },
    );
  });
});
