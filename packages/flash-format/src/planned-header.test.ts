import { describe, expect, it } from "vitest";
import { memorySink } from "./memory-sink.js";
import { recordLayout } from "./model-file.js";
import { planHeader } from "./planned-header.js";
import { openTinyModel, tinyGeometry, tinySpec } from "./tiny-model.fixture.js";
import { createModelWriter } from "./write-model.js";

describe("planHeader", () => {
  it.each([
    ["f16", "bundled"],
    ["f32", "split"],
    ["int8", "bundled"],
  ] as const)("tells every size and place of the file that is then written: %s, %s", async (dtype, layout) => {
    const { header } = (await openTinyModel(tinySpec({ dtype, layout }))).file;
    const planned = planHeader(header.geometry, { dtype, layout, strideBytes: recordLayout(header).strideBytes });
    // The tokenizer, which nobody knows before, moves what follows the header.
    const shift = header.dataOffset - planned.dataOffset;
    expect(planned.weights).toEqual(header.weights);
    expect(planned.fileBytes + shift).toBe(header.fileBytes);
    expect(planned.records.map(({ offset }) => offset + shift)).toEqual(header.records.map(({ offset }) => offset));
    expect([...planned.tensors.keys()]).toEqual([...header.tensors.keys()]);
    for (const [name, { offset, sizeBytes, scales }] of planned.tensors) {
      const written = header.tensors.get(name)!;
      expect([name, offset + shift, sizeBytes, scales?.sizeBytes]).toEqual([
        name,
        written.offset,
        written.sizeBytes,
        written.scales?.sizeBytes,
      ]);
    }
  });
});

describe("an int8 model of more than 16512 columns ended in an assertion when it ran", () => {
  const geometry = tinyGeometry({ hidden_size: 16516 });
  const refusal = {
    code: "UNSUPPORTED_FEATURE",
    message:
      "tensor token_embd.weight: expected at most 16512 columns of an int8 matrix, found 16516; convert with --dtype or --resident-dtype f16 or bf16",
  };

  it("it is refused before it is planned", () => {
    expect(() => planHeader(geometry, { dtype: "int8" })).toThrowError(expect.objectContaining(refusal));
  });

  it("it is refused before a byte is written", async () => {
    let writes = 0;
    const sink = memorySink();
    const write = (bytes: Uint8Array, offset: number) => {
      writes++;
      return sink.write(bytes, offset);
    };
    const spec = tinySpec({ geometry, dtype: "int8" });
    await expect(createModelWriter({ ...sink, write }, spec)).rejects.toMatchObject(refusal);
    expect(writes).toBe(0);
  });

  it("as many columns as fit, and more of another type, are taken", () => {
    const widest = tinyGeometry({ hidden_size: 16512 });
    expect(planHeader(widest, { dtype: "int8" }).geometry.dModel).toBe(16512);
    expect(planHeader(geometry, { dtype: "f16" }).geometry.dModel).toBe(16516);
  });
});
