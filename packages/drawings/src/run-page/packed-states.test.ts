import fc from "fast-check";
import { expect, it } from "vitest";
import { packedBytes, packStates, unpackStates } from "./packed-states.js";

it("states come back as they were, four in a byte", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 50 }), (values) => {
      const states = Uint8Array.from(values);
      const text = packStates(states);
      expect(unpackStates(text, states.length)).toEqual(states);
      expect(atob(text)).toHaveLength(packedBytes(states.length));
    }),
  );
});

it("packs more states than a call has arguments", () => {
  const states = Uint8Array.from({ length: 524_288 }, (_, i) => (i * 7) % 4);
  expect(unpackStates(packStates(states), states.length)).toEqual(states);
});

it("has the first of four in the lowest bits", () => {
  expect(packStates(Uint8Array.of(1, 0, 0, 2))).toBe(btoa("\x81"));
});
