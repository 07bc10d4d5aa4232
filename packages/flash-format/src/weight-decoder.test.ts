import { RECORD_DTYPES, RESIDENT_DTYPES, rowBytes } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { llamaFormFamily } from "./convert/families/llama.js";
import { recordLayout } from "./model-file.js";
import { readResidentTensor } from "./read-model.js";
import { RowEncoder } from "./row-encoder.js";
import { openTinyModel, tinyGeometry, tinyRows, tinySpec } from "./tiny-model.fixture.js";
import { decodeNeurons, decodeRows } from "./weight-decoder.js";

const COLS = 64;
const row = fc.float32Array({
  minLength: COLS,
  maxLength: COLS,
  noNaN: true,
  noDefaultInfinity: true,
  min: -60000,
  max: 60000,
});

/** Σ (x − y)². */
const squaredError = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + (value - y[i]!) ** 2, 0);

describe.each([...RESIDENT_DTYPES, "q4" as const])("rows of %s", (dtype) => {
  it("come back as the encoder stored them, one after the other", () => {
    fc.assert(
      fc.property(row, row, (first, second) => {
        const stride = rowBytes(dtype, COLS);
        const encoder = new RowEncoder(dtype, 2 * stride);
        const scales = new Float32Array(2);
        const errors = [first, second].map((values, r) => {
          expect(encoder.encode(values, r * stride)).toBe(true);
          scales[r] = encoder.scale;
          return encoder.isLossy ? encoder.squaredError : 0;
        });
        const decoded = decodeRows(dtype, encoder.bytes, COLS, dtype === "int8" ? scales : undefined);
        const again = new RowEncoder(dtype, 2 * stride);
        for (const [r, values] of [first, second].entries()) {
          const back = decoded.slice(r * COLS, (r + 1) * COLS);
          // What the encoder says it lost is what is missing, but for the rounding of f32.
          const error = squaredError(values, back);
          if (encoder.isLossy)
            expect(Math.abs(error - errors[r]!)).toBeLessThanOrEqual(
              1e-4 * errors[r]! + 1e-6 * squaredError(values, new Float32Array(COLS)),
            );
          // f32, f16 and bf16: the same bytes when stored again.
          else expect(again.encode(back, r * stride)).toBe(true);
        }
        if (!encoder.isLossy) expect(again.bytes).toEqual(encoder.bytes);
      }),
    );
  });
});

const gated = llamaFormFamily.readGeometry(
  {
    ...{ num_hidden_layers: 2, hidden_size: COLS, intermediate_size: 9, num_attention_heads: 4, vocab_size: 11 },
    ...{ max_position_embeddings: 6, rms_norm_eps: 1e-5, hidden_act: "relu" },
  },
  "config.json",
);
const plain = tinyGeometry({ hidden_size: COLS });
const FORMS = RECORD_DTYPES.flatMap((dtype) => [
  tinySpec({ geometry: plain, dtype }),
  tinySpec({ geometry: plain, dtype, layout: "split" }),
  tinySpec({ geometry: gated, dtype }),
]);
/** Half a step of weights within ±2: exact in every float type. */
const BOUNDS = { f32: 0, f16: 0, bf16: 0, int8: 2 / 127 / 2 + 1e-6, q4: 2 / 7 };

it("neurons come back from their records, whatever their type and layout", async () => {
  for (const spec of FORMS) {
    const { file, bytes } = await openTinyModel(spec);
    const weights = recordLayout(file.header);
    const { offset, downOffset, layer } = file.header.records[1]!;
    const { dFf } = spec.geometry.layers[1]!.ffn;
    const halves = [offset, ...(downOffset === null ? [] : [downOffset])];
    const slots = Buffer.concat(
      Array.from({ length: dFf }, (_, i) => i * weights.strideBytes).flatMap((at) =>
        halves.map((half) => bytes.subarray(half + at, half + at + weights.strideBytes)),
      ),
    );
    const neurons = decodeNeurons(weights, COLS, slots);
    expect(neurons.gate === null).toBe(!spec.geometry.layers[1]!.ffn.gated);
    for (const { role } of weights.parts) {
      const wanted = tinyRows(`blk.${layer}.ffn_${role}`, 0, dFf, COLS);
      const worst = wanted.reduce((most, x, i) => Math.max(most, Math.abs(x - neurons[role]![i]!)), 0);
      expect(worst, `${spec.dtype} ${spec.layout} ${role}`).toBeLessThanOrEqual(BOUNDS[weights.dtype]);
    }
  }
});

it("a resident tensor of int8 comes back with its scales", async () => {
  const { file } = await openTinyModel(tinySpec({ geometry: plain, dtype: "int8" }));
  const tensor = file.header.tensors.get("token_embd.weight")!;
  const [bytes, scales] = [new Uint8Array(tensor.sizeBytes), new Float32Array(tensor.rows)];
  await readResidentTensor(file, tensor, bytes, new Uint8Array(scales.buffer));
  const wanted = tinyRows(tensor.name, 0, tensor.rows, tensor.cols);
  for (const [i, x] of decodeRows(tensor.dtype, bytes, tensor.cols, scales).entries()) {
    expect(Math.abs(x - wanted[i]!)).toBeLessThanOrEqual(BOUNDS.int8);
  }
});

it("bytes that are no whole rows or slots are refused, and int8 without its scales", async () => {
  const weights = recordLayout((await openTinyModel()).file.header);
  expect(() => decodeNeurons(weights, 20, new Uint8Array(weights.slotBytes + 1))).toThrow(
    /slots of \d+ bytes each, found/,
  );
  expect(() => decodeRows("f16", new Uint8Array(5), 2)).toThrow(/rows of 4 bytes each, found 5 bytes/);
  expect(() => decodeRows("int8", new Uint8Array(4), 2, Float32Array.of(1))).toThrow(
    /expected 2, one a row, found 1 scales/,
  );
});
