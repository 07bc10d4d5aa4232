import type { ModelGeometry } from "@flashwick/core";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import { expect, it } from "vitest";
import { choosePruning, prunedTrace } from "./choose-pruning.js";

const geometry = { layers: [4, 4].map((dFf) => ({ ffn: { dFf } })) } as unknown as Pick<ModelGeometry, "layers">;
const traceOf = (...importance: number[][]): NeuronTrace => ({
  ...{ nLayers: 2, dFf: 4, tokens: [[Uint32Array.of(0, 2, 3), Uint32Array.of(1)]] },
  origin: { fingerprint: "ab".repeat(32), named: true, importance: importance.map((row) => Float32Array.from(row)) },
});
const chosen = (trace: NeuronTrace, share: number) => choosePruning(geometry, trace, share).map((set) => [...set]);

it("leaves out what adds least, whichever layers it is in", () => {
  const trace = traceOf([5, 1, 2, 7], [8, 9, 3, 6]);
  expect(chosen(trace, 3 / 8)).toEqual([
    [0, 3],
    [0, 1, 3],
  ]);
  expect(chosen(trace, 0.3)).toEqual([
    [0, 3],
    [0, 1, 2, 3],
  ]);
});

it("takes equally important ones from the end", () => {
  const trace = traceOf([1, 1, 1, 1], [1, 1, 1, 1]);
  expect(chosen(trace, 2 / 8)).toEqual([
    [0, 1, 2, 3],
    [0, 1],
  ]);
  expect(chosen(trace, 3 / 8)).toEqual([[0, 1, 2, 3], [0]]);
  expect(() => chosen(trace, 4 / 8)).toThrowError(/layer 1 would have no neuron left/);
});

it.each([0, 1, -0.5, Number.NaN])("refuses a share of %f", (share) => {
  expect(() => chosen(traceOf([1, 2, 3, 4], [1, 2, 3, 4]), share)).toThrowError(
    expect.objectContaining({ code: "INPUT_INVALID", message: expect.stringContaining("a share of") }),
  );
});

it("refuses a trace of another shape, and one that does not say what neurons add", () => {
  const trace = traceOf([1, 2, 3, 4], [1, 2, 3, 4]);
  expect(() => chosen({ ...trace, nLayers: 3 }, 0.5)).toThrowError(
    /3 layers of 4 neurons, expected the checkpoint's 2 of 4/,
  );
  const { origin: _, ...bare } = trace;
  expect(() => chosen(bare, 0.5)).toThrowError(/record it again/);
});

it("gives the trace of what stays", () => {
  const kept = [Uint32Array.of(2, 3), Uint32Array.of(0, 1, 3)];
  expect(prunedTrace(traceOf([1, 1, 1, 1], [1, 1, 1, 1]), kept)).toEqual({
    ...{ nLayers: 2, dFf: 3 },
    tokens: [[Uint32Array.of(0, 1), Uint32Array.of(1)]],
  });
});
