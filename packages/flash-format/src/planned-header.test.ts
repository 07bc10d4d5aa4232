import { describe, expect, it } from "vitest";
import { planHeader } from "./planned-header.js";
import { openTinyModel, tinySpec } from "./tiny-model.fixture.js";

describe("planHeader", () => {
  it.each([
    ["f16", "bundled"],
    ["f32", "split"],
    ["int8", "bundled"],
  ] as const)("tells every size and place of the file that is then written: %s, %s", async (dtype, layout) => {
    const { header } = (await openTinyModel(tinySpec({ dtype, layout }))).file;
    const planned = planHeader(header.geometry, { dtype, layout, strideBytes: header.weights.strideBytes });
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
