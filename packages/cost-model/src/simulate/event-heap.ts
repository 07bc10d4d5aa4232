/**
 * What happens next: a binary heap of (time, id). Events of the same time come out in the order in which they went in, so that a
 * simulation is the same on every platform.
 */
import { assert } from "@flashwick/core";

interface Event {
  readonly time: number;
  readonly order: number;
  readonly id: number;
}

export class EventHeap {
  readonly #events: Event[] = [];
  #pushed = 0;

  get size(): number {
    return this.#events.length;
  }

  /** Of the next event; Infinity if there is none. */
  get nextTime(): number {
    return this.#events.length > 0 ? this.#events[0]!.time : Number.POSITIVE_INFINITY;
  }

  /** Cost: O(log size). */
  push(time: number, id: number): void {
    const events = this.#events;
    const event = { time, order: this.#pushed++, id };
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, events[parent]!)) break;
      events[at] = events[parent]!;
      at = parent;
    }
    events[at] = event;
  }

  /** Takes the next event out; its id. Cost: O(log size). */
  pop(): number {
    const events = this.#events;
    assert(events.length > 0, "an event heap that is empty has no next event");
    const first = events[0]!;
    const last = events.pop()!;
    if (events.length > 0) this.#sink(last);
    return first.id;
  }

  /** Puts an event where the root was. */
  #sink(event: Event): void {
    const events = this.#events;
    let at = 0;
    for (let child = 1; child < events.length; child = 2 * at + 1) {
      if (child + 1 < events.length && before(events[child + 1]!, events[child]!)) child++;
      if (!before(events[child]!, event)) break;
      events[at] = events[child]!;
      at = child;
    }
    events[at] = event;
  }
}

function before(a: Event, b: Event): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}
