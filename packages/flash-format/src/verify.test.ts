import { memorySource, type Progress } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { recordLayout } from "./model-file.js";
import { openModelFile } from "./read-model.js";
import { openTinyModel, TINY_LAYERS, TINY_NEURONS, tinyGeometry, tinySpec } from "./tiny-model.fixture.js";
import { verifyModelFile } from "./verify.js";

describe.each(["bundled", "split"] as const)("verifyModelFile, %s", (layout) => {
  const spec = tinySpec({ dtype: "int8", layout });

  it("finds nothing wrong with a whole file, having looked at every byte", async () => {
    const { file, bytes } = await openTinyModel(spec);
    expect(await verifyModelFile(file)).toEqual({
      ok: true,
      recordsChecked: TINY_LAYERS * TINY_NEURONS,
      bytesChecked: bytes.length,
      bad: [],
      badCount: 0,
    });
  });

  it("finds any one flipped bit of the file", async () => {
    const { file, bytes } = await openTinyModel(spec);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (at, bit) => {
        bytes[at]! ^= 1 << bit;
        const { ok, bad, badCount } = await verifyModelFile(file);
        bytes[at]! ^= 1 << bit;
        expect({ ok, found: bad.length, badCount }).toEqual({ ok: false, found: 1, badCount: 1 });
        const [{ offset, kind }] = bad as [(typeof bad)[number]];
        // A split record is reported where its first half is.
        if (layout === "bundled" || kind !== "record") expect(offset).toBeLessThanOrEqual(at);
      }),
      { numRuns: 60 },
    );
  });

  it("says which record, tensor, padding or header it was", async () => {
    const { file, bytes } = await openTinyModel(spec);
    const { records, tensors, dataOffset } = file.header;
    const weights = recordLayout(file.header);
    const tensor = tensors.get("blk.0.attn_v.weight")!;
    const record = records[1]!.offset + 5 * weights.strideBytes;
    const flips = [
      dataOffset - 1,
      tensor.offset,
      tensor.scales!.offset,
      tensor.scales!.offset + tensor.scales!.sizeBytes,
      records[0]!.crcOffset,
      (records[0]!.downOffset ?? records[0]!.offset) + 3 * weights.strideBytes,
      record + weights.strideBytes - 1,
    ];
    for (const at of flips) bytes[at]! ^= 1;
    const { bad, recordsChecked } = await verifyModelFile(file);
    expect(bad.map(({ offset, ...rest }) => rest)).toEqual([
      { kind: "padding" },
      { kind: "tensor", tensor: "blk.0.attn_v.weight" },
      { kind: "tensor", tensor: "blk.0.attn_v.weight.scale" },
      { kind: "padding" },
      { kind: "tensor", tensor: "blk.0.ffn_crc32c" },
      { kind: "record", layer: 1, neuron: 5 },
    ]);
    expect(bad.at(-1)!.offset).toBe(record);
    // Layer 0 cannot be judged by damaged checksums.
    expect(recordsChecked).toBe(TINY_NEURONS);

    bytes[100]! ^= 1;
    expect((await verifyModelFile(file)).bad).toEqual([{ kind: "header", offset: 0 }]);
  });
});

describe("verifyModelFile", () => {
  it("reports progress up to the file's size", async () => {
    const { file, bytes } = await openTinyModel();
    const seen: Progress[] = [];
    await verifyModelFile(file, { onProgress: (progress) => seen.push(progress) });
    expect(seen.at(-1)).toMatchObject({ phase: "verify", loaded: bytes.length, total: bytes.length, unit: "bytes" });
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.every(({ loaded }, i) => i === 0 || loaded >= seen[i - 1]!.loaded)).toBe(true);
  });

  it("stops when told, with the signal's reason", async () => {
    const { file } = await openTinyModel();
    const controller = new AbortController();
    const reason = new Error("enough");
    const verifying = verifyModelFile(file, {
      signal: controller.signal,
      onProgress: ({ loaded }) => loaded > 20_000 && controller.abort(reason),
    });
    await expect(verifying).rejects.toBe(reason);
  });

  it("lists a thousand findings and counts the rest", async () => {
    const spec = tinySpec({ geometry: tinyGeometry({ ffn_dim: 700 }) });
    const { bytes } = await openTinyModel(spec);
    const file = await openModelFile(memorySource(bytes));
    bytes.fill(0xff, file.header.records[0]!.offset);
    const { bad, badCount } = await verifyModelFile(file);
    expect(bad).toHaveLength(1000);
    expect(badCount).toBeGreaterThanOrEqual(1400);
  });
});
