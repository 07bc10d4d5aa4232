import fc from "fast-check";
import { expect, it } from "vitest";
import { EventHeap } from "./event-heap.js";

it("gives events by time, and those of one time as they came", () => {
  const times = fc.array(fc.option(fc.integer({ min: 0, max: 5 }), { nil: null }), { maxLength: 60 });
  fc.assert(
    fc.property(times, (pushes) => {
      const heap = new EventHeap();
      const slow: { time: number; id: number }[] = [];
      for (const [id, time] of pushes.entries()) {
        if (time === null) {
          if (slow.length > 0) expect(heap.pop()).toBe(takeFirst(slow));
        } else {
          heap.push(time, id);
          slow.push({ time, id });
        }
        expect(heap.size).toBe(slow.length);
        expect(heap.nextTime).toBe(Math.min(...slow.map((event) => event.time)));
      }
    }),
  );
});

function takeFirst(events: { time: number; id: number }[]): number {
  const least = Math.min(...events.map(({ time }) => time));
  return events.splice(
    events.findIndex(({ time }) => time === least),
    1,
  )[0]!.id;
}
