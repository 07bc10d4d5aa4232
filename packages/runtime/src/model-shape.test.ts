import { type DType, memorySource } from "@flashwick/core";
import { denseBytesByType } from "@flashwick/cost-model";
import { layerTensors, openModelFile, type PlannedForm, planHeader } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import { ggufBytes } from "./checkpoint.fixture.js";
import { shapeOf } from "./model-shape.js";

describe("shapeOf a GGUF file of llama.cpp", () => {
  it.each(["llama", "qwen3", "gemma3"])("counts every byte of %s's layers once, by type", async (name) => {
    const { header } = await openModelFile(memorySource(ggufBytes(name), name));
    const shape = shapeOf(header, null);
    const head = header.geometry.head.tied ? "token_embd.weight" : "output.weight";
    const tensors = [...layerTensors(header), header.tensors.get(head)!];
    const bytes = layerTensors(header).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const layers = shape.nLayers * (shape.attentionBytes + shape.dFf * shape.recordBytes);
    expect(layers).toBeCloseTo(bytes, 3);
    expect(shape.nLayers * shape.dFf * shape.strideBytes).toBeCloseTo(bytes, 3);
    for (const dtype of new Set(tensors.map((tensor) => tensor.dtype))) {
      const typed = denseBytesByType(shape).filter((of) => of.dtype === dtype);
      const expected = tensors.filter((tensor) => tensor.dtype === dtype);
      expect(typed.reduce((sum, of) => sum + of.bytes, 0)).toBeCloseTo(
        expected.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        3,
      );
    }
    const { isChecked, layers: streams } = shape.rowStream!;
    const streamed = streams.flatMap(({ matrices }) => matrices);
    expect(streamed.reduce((sum, { rows, rowBytes }) => sum + rows * rowBytes, 0)).toBe(bytes);
    expect(isChecked).toBe(false);
  });
});

describe("attention and head of a model of records in q4 were priced as four bits", () => {
  it("a header's are of the types in which they are stored", async () => {
    const { geometry } = (await openModelFile(memorySource(ggufBytes("llama"), "llama"))).header;
    const typesOf = (form: PlannedForm) => {
      const { attentionTypes, ffnTypes, headDtype } = shapeOf(planHeader(geometry, form), null);
      return [attentionTypes, ffnTypes, headDtype];
    };
    const all = (dtype: DType) => [{ dtype, share: 1 }];
    expect(typesOf({ dtype: "q4" })).toEqual([all("q8_0"), all("q4"), "q8_0"]);
    expect(typesOf({ dtype: "q4", residentDtype: "f16" })).toEqual([all("f16"), all("q4"), "f16"]);
    expect(typesOf({ dtype: "f16" })).toEqual([all("f16"), all("f16"), "f16"]);
  });
});

it("the predictors of a model have bytes and types by layer, W1 and W2 by their bytes", async () => {
  const { header } = await openModelFile(memorySource(ggufBytes("llama"), "llama"));
  const quality = { threshold: 0, trueActiveShare: 0, namedShare: 0, recall: 0, precision: 0, missedMass: 0 };
  const layer = (w1: "int8" | "q4_0", w2: "int8" | "q4_0", number: number) => ({
    ...{ ...quality, layer: number, rank: 32 },
    ...{ w1: { dtype: w1, rows: 32, cols: 64 }, w2: { dtype: w2, rows: 128, cols: 32 } },
  });
  const { predictor } = shapeOf(header, { layers: [layer("int8", "int8", 0), layer("int8", "q4_0", 1)] });
  const [int8Bytes, q4Bytes] = [32 * 64 + 4 * 32, 128 * 18];
  expect(predictor!.bytesByLayer).toEqual([int8Bytes + 128 * 32 + 4 * 128, int8Bytes + q4Bytes]);
  expect(predictor!.typesByLayer[1]).toEqual([
    { dtype: "int8", share: int8Bytes / (int8Bytes + q4Bytes) },
    { dtype: "q4_0", share: q4Bytes / (int8Bytes + q4Bytes) },
  ]);
});
