import fc from "fast-check";
import { expect, it } from "vitest";
import { UnitHeap } from "./unit-heap.js";

const FIRST = 10;
const N = 12;

it("has the unit of the least key first, the lower among equals, whatever is pushed, removed and given other keys", () => {
  const step = fc.record({ unit: fc.nat(N - 1).map((i) => FIRST + i), key: fc.nat(4), rekey: fc.nat(9) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const heap = new UnitHeap(FIRST, N);
      const keys = new Map<number, number>();
      for (const { unit, key, rekey } of steps) {
        if (rekey === 0) {
          const keyOf = (unit: number) => (unit * 7 + key) % 5;
          heap.rekey(keyOf);
          for (const member of keys.keys()) keys.set(member, keyOf(member));
        } else if (keys.delete(unit)) heap.remove(unit);
        else {
          heap.push(unit, key);
          keys.set(unit, key);
        }
        const order = [...keys].sort(([a, keyA], [b, keyB]) => keyA - keyB || a - b);
        expect(heap.first).toBe(order[0]?.[0] ?? -1);
        expect(heap.has(unit)).toBe(keys.has(unit));
      }
    }),
  );
});
