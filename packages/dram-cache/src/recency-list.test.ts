import fc from "fast-check";
import { expect, it } from "vitest";
import { NO_SLOT, RecencyList } from "./recency-list.js";

const SLOTS = 6;

function toArray(lists: RecencyList, list = 0): number[] {
  const slots: number[] = [];
  for (let slot = lists.first(list); slot !== NO_SLOT; slot = lists.after(slot)) slots.push(slot);
  return slots;
}

function toReversedArray(lists: RecencyList, list = 0): number[] {
  const slots: number[] = [];
  for (let slot = lists.last(list); slot !== NO_SLOT; slot = lists.before(slot)) slots.push(slot);
  return slots;
}

it("is in the order of an array that slots are inserted into, removed from and replaced in, and backwards in the reverse", () => {
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
        } else if (!model.includes(slot) && model.includes(other)) {
          list.insertAfter(other, slot);
          model.splice(model.indexOf(other) + 1, 0, slot);
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
        expect(toReversedArray(list)).toEqual(model.toReversed());
      }
    }),
  );
});

it("appends and removes many slots as it does one after the other", () => {
  const slots = fc.uniqueArray(fc.nat(SLOTS - 1)).map((slots) => Uint32Array.from(slots));
  fc.assert(
    fc.property(slots, fc.nat(SLOTS), fc.uniqueArray(fc.nat(SLOTS - 1)), (slots, split, leaving) => {
      const list = new RecencyList(SLOTS);
      list.appendAll(slots.subarray(0, split));
      list.appendAll(slots.subarray(split));
      expect(toArray(list)).toEqual([...slots]);
      const indices = leaving.filter((index) => index < slots.length);
      list.removeAll(slots, Uint32Array.from(indices));
      const left = [...slots].filter((_, index) => !indices.includes(index));
      expect([toArray(list), toReversedArray(list)]).toEqual([left, left.toReversed()]);
    }),
  );
});

it("keeps several lists apart", () => {
  const LISTS = 3;
  const step = fc.record({ slot: fc.nat(SLOTS - 1), list: fc.nat(LISTS - 1), front: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const lists = new RecencyList(SLOTS, LISTS);
      const models: number[][] = Array.from({ length: LISTS }, () => []);
      for (const { slot, list, front } of steps) {
        const held = models.findIndex((model) => model.includes(slot));
        if (held >= 0) lists.remove(slot);
        if (held >= 0) models[held] = models[held]!.filter((one) => one !== slot);
        if (front) lists.prepend(slot, list);
        else lists.appendAll(Uint32Array.of(slot), list);
        models[list]![front ? "unshift" : "push"](slot);
        for (const [i, model] of models.entries()) {
          expect([toArray(lists, i), toReversedArray(lists, i)]).toEqual([model, model.toReversed()]);
        }
      }
    }),
  );
});
