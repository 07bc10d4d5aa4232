import { decodeFloat16 } from "@flashwick/core";
import { expect, it } from "vitest";
import { BatchRecorder } from "./batch-recorder.js";
import { planSampleLayout } from "./sample-layout.js";

const SHAPE = { nLayers: 1, dModel: 8, dFf: 12 };
const LAYOUT = planSampleLayout(SHAPE.dModel, SHAPE.dFf);

/** Two tokens; rows are longer than their contents, as padded activations are. */
function record(recorder: BatchRecorder, heldOut: boolean) {
  recorder.begin(2, heldOut);
  recorder.input(
    Float32Array.from({ length: 32 }, (_, i) => (i === 16 ? 1e6 : i / 4)),
    16,
  );
  // Neurons 0 … 8, then 9 … 11. A gated activation may be negative, and is active.
  recorder.activations(0, 9, Float32Array.of(0, 1, 0, -1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0), 9);
  recorder.activations(9, 3, Float32Array.of(0, 0, 3, 99, 4, 0, 0, 99), 4);
  return recorder.end();
}

it("a record holds x as f16 and one bit a neuron", () => {
  const { records, nTokens, active, heldOut } = record(new BatchRecorder(SHAPE, 4), false);
  expect({ nTokens, active, heldOut, bytes: records.length }).toEqual({
    nTokens: 2,
    active: 5,
    heldOut: false,
    bytes: 2 * LAYOUT.recordBytes,
  });
  const view = new DataView(records.buffer);
  const x = Array.from({ length: 8 }, (_, i) => decodeFloat16(view.getUint16(2 * i, true)));
  expect(x).toEqual([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]);
  expect([...records.subarray(LAYOUT.activeOffset, LAYOUT.activeOffset + 2)]).toEqual([0b00001010, 0b00001001]);
  const second = LAYOUT.recordBytes + LAYOUT.activeOffset;
  expect([...records.subarray(second, second + 2)]).toEqual([0, 0b00000010]);
});

it("an input beyond f16 is stored as the largest f16", () => {
  const { records } = record(new BatchRecorder(SHAPE, 4), false);
  const view = new DataView(records.buffer);
  expect(decodeFloat16(view.getUint16(LAYOUT.recordBytes, true))).toBe(65504);
});

it("held-out tokens keep their magnitudes in neuron order, training tokens none", () => {
  const recorder = new BatchRecorder(SHAPE, 4);
  expect([...record(recorder, true).magnitudes]).toEqual([1, 1, 2, 3, 4]);
  expect([...record(recorder, false).magnitudes]).toEqual([]);
});

it("a recorder forgets the batch before", () => {
  const recorder = new BatchRecorder(SHAPE, 4);
  record(recorder, true);
  recorder.begin(2, true);
  const { records, magnitudes, active } = recorder.end();
  expect(active).toBe(0);
  expect(magnitudes.length).toBe(0);
  expect(records.every((byte) => byte === 0)).toBe(true);
});

it("widths that kernels cannot take are refused", () => {
  expect(() => planSampleLayout(10, 12)).toThrow("multiples of 4");
});
