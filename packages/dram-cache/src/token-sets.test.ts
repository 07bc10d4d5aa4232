import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isMember, lowerBound, unionOf } from "./token-sets.js";

const LIMIT = 30;
const sets = fc.uniqueArray(fc.nat(LIMIT - 1)).map((set) => Uint32Array.from(set).sort());

describe("sets of neurons", () => {
  it("unite into an ascending set of a buffer, whatever the buffer held", () => {
    fc.assert(
      fc.property(fc.array(sets, { maxLength: 5 }), (sets) => {
        const buffer = new Uint32Array(LIMIT).fill(7);
        const union = unionOf(sets, buffer);
        expect([...union]).toEqual([...new Set(sets.flatMap((set) => [...set]))].sort((a, b) => a - b));
        expect(union.buffer).toBe(buffer.buffer);
      }),
    );
  });
  it("are searched for members, and for the first that is not below a neuron", () => {
    fc.assert(
      fc.property(sets, fc.nat(LIMIT), (set, neuron) => {
        expect(isMember(set, neuron)).toBe([...set].includes(neuron));
        expect(lowerBound(set, neuron)).toBe([...set].filter((member) => member < neuron).length);
      }),
    );
  });
});
