import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeTrace, encodeTrace } from "./trace-file.js";
import { oneLayer, randomTraces } from "./traces.fixture.js";

const error = (code: string) => expect.objectContaining({ name: "FormatError", code });

describe("the file form of a trace", () => {
  it("has these bytes", () => {
    const hex = Buffer.from(encodeTrace(oneLayer(300, [0, 1, 200], []))).toString("hex");
    const header = "46575452" + "01000000" + "01000000" + "2c010000" + "02000000";
    expect(hex).toBe(`${header}030000c601002d438fbc`);
  });
  it("gives back what was recorded", () => {
    fc.assert(
      fc.property(randomTraces(30), (trace) => {
        expect(decodeTrace(encodeTrace(trace))).toEqual(trace);
      }),
    );
  });
  it("holds the widest layer and the longest varint", () => {
    const trace = oneLayer(1 << 24, [0, (1 << 24) - 1]);
    expect(decodeTrace(encodeTrace(trace))).toEqual(trace);
  });
  const origin = {
    ...{ fingerprint: "0f".repeat(31) + "a5", named: true },
    importance: [Float32Array.of(0, 1.5, 2), Float32Array.of(3, 0, 0.25)],
  };
  const traced = { nLayers: 2, dFf: 3, tokens: [[Uint32Array.of(1), Uint32Array.of()]], origin };
  it("gives back which model it is of, and what its neurons added", () => {
    expect(decodeTrace(encodeTrace(traced))).toEqual(traced);
    const truly = { ...traced, origin: { ...origin, named: false } };
    expect(decodeTrace(encodeTrace(truly))).toEqual(truly);
    const file = encodeTrace(traced);
    // Header, sets, fingerprint, kind, importances, checksum.
    expect([file[4], file.length]).toEqual([2, 20 + 3 + 32 + 4 + 24 + 4]);
    for (let size = 0; size < file.length; size++) {
      expect(() => decodeTrace(file.subarray(0, size))).toThrowError(error("FORMAT_TRUNCATED"));
    }
    for (let at = 20; at < file.length; at++) {
      const damaged = file.slice();
      damaged[at]! ^= 4;
      expect(() => decodeTrace(damaged)).toThrowError(expect.objectContaining({ name: "FormatError" }));
    }
  });
  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY])("refuses an importance of %f", (value) => {
    const importance = [Float32Array.of(0, value, 2), origin.importance[1]!];
    expect(() => decodeTrace(encodeTrace({ ...traced, origin: { ...origin, importance } }))).toThrowError(
      /layer 0 has importances/,
    );
  });
  it("is read from the middle of a buffer", () => {
    const trace = oneLayer(8, [1, 5]);
    const file = encodeTrace(trace);
    const buffer = new Uint8Array(file.length + 6);
    buffer.set(file, 3);
    expect(decodeTrace(buffer.subarray(3, 3 + file.length))).toEqual(trace);
  });
  it("says where it is cut off, wherever that is", () => {
    const file = encodeTrace({ nLayers: 2, dFf: 300, tokens: [[Uint32Array.of(1, 2), Uint32Array.of(299)]] });
    for (let size = 0; size < file.length; size++) {
      expect(() => decodeTrace(file.subarray(0, size))).toThrowError(error("FORMAT_TRUNCATED"));
    }
  });
  it("notices any damaged byte", () => {
    const file = encodeTrace({ nLayers: 2, dFf: 300, tokens: [[Uint32Array.of(1, 2), Uint32Array.of(299)]] });
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, flips) => {
        const damaged = file.slice();
        damaged[at]! ^= flips;
        expect(() => decodeTrace(damaged)).toThrowError(expect.objectContaining({ name: "FormatError" }));
      }),
    );
  });
  it.each([
    ["other bytes", 0, 7, "FORMAT_INVALID"],
    ["another version", 4, 3, "FORMAT_VERSION"],
    ["a version with an origin that is not there", 4, 2, "FORMAT_TRUNCATED"],
    ["no layers", 8, 0, "FORMAT_LIMIT"],
    ["absurdly many layers", 10, 1, "FORMAT_LIMIT"],
    ["absurdly wide layers", 15, 255, "FORMAT_LIMIT"],
    ["a neuron out of range", 12, 100, "FORMAT_INVALID"],
    ["more neurons in a set than there are", 20, 127, "FORMAT_INVALID"],
    ["more neurons in a set than bytes follow", 20, 90, "FORMAT_TRUNCATED"],
    ["fewer tokens than follow", 16, 0, "FORMAT_INVALID"],
    ["absurdly many tokens", 19, 255, "FORMAT_TRUNCATED"],
    ["a flipped bit that leaves a valid set", 21, 2, "FORMAT_INVALID"],
  ])("refuses %s", (_, at, value, code) => {
    const file = encodeTrace(oneLayer(120, [1, 2, 110]));
    file[at] = value;
    expect(() => decodeTrace(file)).toThrowError(error(code));
  });
  it("refuses a number that does not end", () => {
    const file = new Uint8Array(40).fill(0xff);
    file.set(encodeTrace(oneLayer(120, [1])).subarray(0, 20));
    expect(() => decodeTrace(file, "a.trace")).toThrowError(/^a\.trace @ 24: token 0, layer 0: .* more than 28 bits/);
  });
  it.each([
    ["an unsorted set", oneLayer(8, [2, 1])],
    ["a neuron out of range", oneLayer(8, [8])],
    ["a token without all layers", { nLayers: 2, dFf: 8, tokens: [[Uint32Array.of(1)]] }],
    ["no layers", { nLayers: 0, dFf: 8, tokens: [] }],
    ["half a neuron", { nLayers: 1, dFf: 0.5, tokens: [] }],
  ])("does not write %s", (_, trace) => {
    expect(() => encodeTrace(trace)).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });
  it("does not write what it would not read", () => {
    expect(() => encodeTrace(oneLayer((1 << 24) + 1, [1]))).toThrowError(error("FORMAT_LIMIT"));
  });
});
