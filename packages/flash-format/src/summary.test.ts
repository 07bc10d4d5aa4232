import { describe, expect, it } from "vitest";
import { summariseModelFile } from "./summary.js";
import { openTinyModel, tinySpec } from "./tiny-model.fixture.js";

describe("summariseModelFile", () => {
  it.each([
    // Matrices: embedding 11x20, positions 8x20, four 20x20 a layer; vectors of 20 (nine a layer, two at the end) and 7.
    ["f16", "bundled", 2 * 3580 + 4 * 414, 2 * 7 * 512],
    ["int8", "split", 3580 + 4 * (19 + 160) + 4 * 414, 2 * 7 * 1024],
  ] as const)(
    "accounts for every byte of a model written as %s, %s",
    async (dtype, layout, residentBytes, ffnBytes) => {
      const { file, bytes } = await openTinyModel(tinySpec({ dtype, layout }));
      const summary = summariseModelFile(file.header);
      expect(summary).toMatchObject({ residentBytes, ffnBytes, checksumBytes: 2 * 7 * 4, fileBytes: bytes.length });
      expect(summary.parameters).toBe(3580 + 414 + 2 * 2 * 7 * 20);
      const { headerBytes, checksumBytes, paddingBytes } = summary;
      expect(headerBytes + summary.residentBytes + summary.ffnBytes + checksumBytes + paddingBytes).toBe(bytes.length);
      expect(summary.tensors).toHaveLength(file.header.tensors.size);
    },
  );
});
