import fc from "fast-check";
import { expect, it } from "vitest";
import { NO_SLOT, RecencyList } from "./recency-list.js";

const SLOTS = 6;

function toArray(list: RecencyList): number[] {
  const slots: number[] = [];
  for (let slot = list.first; slot !== NO_SLOT; slot = list.after(slot)) slots.push(slot);
  return slots;
}

it("is in the order of an array that slots are appended and prepended to, removed from and replaced in", () => {
  const step = fc.record({
    slot: fc.nat(SLOTS - 1),
    other: fc.nat(SLOTS - 1),
    clear: fc.boolean(),
    front: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const list = new RecencyList(SLOTS);
      let model: number[] = [];
      for (const { slot, other, clear, front } of steps) {
        if (!model.includes(slot) && front) {
          list.prepend(slot);
          model.unshift(slot);
        } else if (!model.includes(slot)) {
          list.append(slot);
          model.push(slot);
        } else if (!model.includes(other)) {
          list.replace(slot, other);
          model = model.map((one) => (one === slot ? other : one));
        } else if (clear && slot === other) {
          list.clear();
          model = [];
        } else {
          list.remove(slot);
          model = model.filter((one) => one !== slot);
        }
        expect(toArray(list)).toEqual(model);
      }
    }),
  );
});
