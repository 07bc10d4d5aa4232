import { memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import { ggufBytes } from "./checkpoint.fixture.js";
import { shapeOf } from "./model-shape.js";

describe("shapeOf a GGUF file of llama.cpp", () => {
  it.each(["llama", "qwen3", "gemma3"])("counts every byte of %s's layers once, by type", async (name) => {
    const { header } = await openModelFile(memorySource(ggufBytes(name), name));
    const shape = shapeOf(header, null);
    const tensors = header.matrices.flatMap((layer) => Object.values(layer));
    const bytes = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const layers = shape.nLayers * (shape.attentionBytes + shape.dFf * shape.recordBytes);
    expect(layers).toBeCloseTo(bytes, 3);
    expect(shape.nLayers * shape.dFf * shape.strideBytes).toBeCloseTo(bytes, 3);
    for (const { dtype, share } of shape.layerTypes) {
      const typed = tensors.filter((tensor) => tensor.dtype === dtype);
      expect(share * bytes).toBeCloseTo(
        typed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        3,
      );
    }
    expect(shape.layerTypes.length).toBe(new Set(tensors.map(({ dtype }) => dtype)).size);
    expect(shape.streams).toBe("layers");
  });
});
