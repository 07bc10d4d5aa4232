import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { coActivationOrder, hotnessOrder, placeTrace } from "./placement.js";
import { oneLayer, randomTraces } from "./traces.fixture.js";

const identity = (dFf: number) => Uint32Array.from({ length: dFf }, (_, i) => i);
/** Reads that naming a token's sets takes when neighbours are one read. */
const runsOf = (sets: readonly Uint32Array[]) =>
  sets.reduce((sum, set) => sum + set.filter((n, i) => i === 0 || n !== set[i - 1]! + 1).length, 0);
const totalRuns = ({ tokens }: ReturnType<typeof oneLayer>) => tokens.reduce((sum, sets) => sum + runsOf(sets), 0);

describe("hotnessOrder", () => {
  it("stands the most used first, the lower neuron among equals", () => {
    expect([...hotnessOrder(oneLayer(5, [1, 3], [3], [0, 3]), 0)]).toEqual([3, 0, 1, 2, 4]);
  });
});

describe("coActivationOrder", () => {
  it("makes neighbours of what is named together", () => {
    const trace = oneLayer(8, [0, 4], [0, 4], [2, 6], [2, 6], [0, 4], [1, 6]);
    const order = [...coActivationOrder(trace, 0)];
    expect(Math.abs(order.indexOf(0) - order.indexOf(4))).toBe(1);
    expect(Math.abs(order.indexOf(2) - order.indexOf(6))).toBe(1);
    expect(totalRuns(placeTrace(trace, [Uint32Array.from(order)]))).toBe(6);
    expect(totalRuns(trace)).toBe(12);
  });
  it("links nothing to neurons that almost every token names", () => {
    const trace = oneLayer(6, [0, 2, 4], [0, 2, 4], [0, 5], [0, 3]);
    expect([...coActivationOrder(trace, 0)].slice(0, 3)).toEqual([0, 2, 4]);
  });
  it("is a permutation of every trace's neurons", () => {
    fc.assert(
      fc.property(randomTraces(12), fc.integer({ min: 1, max: 8 }), (trace, partners) => {
        for (const order of [coActivationOrder(trace, 0, { partners }), hotnessOrder(trace, 0)]) {
          expect([...order].sort((a, b) => a - b)).toEqual([...identity(trace.dFf)]);
        }
      }),
    );
  });
});

describe("placeTrace", () => {
  it("changes nothing in the order that there was, and numbers by position otherwise", () => {
    const trace = oneLayer(4, [1, 3]);
    expect(placeTrace(trace, [identity(4)])).toEqual(trace);
    expect([...placeTrace(trace, [Uint32Array.of(3, 0, 1, 2)]).tokens[0]![0]!]).toEqual([0, 2]);
  });
  it.each([
    ["a neuron twice", [Uint32Array.of(0, 1, 1, 2)]],
    ["a neuron that is not there", [Uint32Array.of(0, 1, 2, 4)]],
    ["too few", [Uint32Array.of(0, 1, 2)]],
    ["another number of layers", [identity(4), identity(4)]],
  ])("refuses %s", (_, placement) => {
    expect(() => placeTrace(oneLayer(4, [1]), placement)).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  });
});
