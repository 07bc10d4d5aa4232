/** An independent reader, `@huggingface/gguf`, lists our files: the container is a GGUF for others as well. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GGMLQuantizationType, gguf } from "@huggingface/gguf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { recordLayout } from "../model-file.js";
import { openTinyModel, tinySpec } from "../tiny-model.fixture.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "flash-format-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("@huggingface/gguf", () => {
  it.each(["f16", "f32", "bf16", "int8"] as const)("lists a model written as %s", async (dtype) => {
    const { file, bytes } = await openTinyModel(tinySpec({ dtype }));
    const path = join(folder, `${dtype}.gguf`);
    writeFileSync(path, bytes);
    const { metadata, tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true });
    const { header } = file;

    expect(metadata).toMatchObject({
      version: 3,
      "general.architecture": "opt",
      "general.alignment": 4096,
      "opt.block_count": 2,
      "opt.embedding_length": 20,
      "flashwick.fingerprint": header.fingerprint,
      "flashwick.file.size": BigInt(bytes.length),
      "tokenizer.huggingface.json": header.tokenizerJson,
    });
    expect(Number(tensorDataOffset)).toBe(header.dataOffset);

    const found = new Map(tensorInfos.map((tensor) => [tensor.name, tensor]));
    const ggml = { f32: "F32", f16: "F16", bf16: "BF16", int8: "I8" } as const;
    for (const { name, dtype: stored, rows, cols, offset } of header.tensors.values()) {
      const { shape, dtype: type, offset: relative } = found.get(name)!;
      expect(GGMLQuantizationType[type]).toBe(ggml[stored as keyof typeof ggml]);
      expect(shape.map(Number)).toEqual(stored === "f32" && rows === 1 ? [cols] : [cols, rows]);
      expect(Number(relative) + header.dataOffset).toBe(offset);
    }
    const records = found.get("blk.1.ffn_records")!;
    expect(GGMLQuantizationType[records.dtype]).toBe("I8");
    expect(records.shape.map(Number)).toEqual([recordLayout(header).strideBytes, header.geometry.layers[0]!.ffn.dFf]);
    expect(Number(records.offset) + header.dataOffset).toBe(header.records[1]!.offset);
  });
});
