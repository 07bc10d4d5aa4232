import { Random } from "@flashwick/core";
import { expect, it } from "vitest";
import { topUnits } from "./top-units.js";
import { UnitCaches } from "./unit-caches.js";

const UNITS = 20;
const SLOTS = 8;

/** What an LRU cache with room to pass units through holds, obviously: the newest first; of a token its hits, then its best. */
class ObviousLru {
  held: number[] = [];
  misses = 0;

  use(set: number[], scores: Float32Array): void {
    const hits = set.filter((unit) => this.held.includes(unit));
    const missing = set.filter((unit) => !hits.includes(unit)).sort((a, b) => scores[b]! - scores[a]! || a - b);
    this.misses += missing.length;
    const kept = [...hits, ...missing].slice(0, SLOTS).sort((a, b) => a - b);
    // Of one token, all are as new; the lower unit leaves first.
    this.held = [...this.held.filter((unit) => !kept.includes(unit)), ...kept].slice(-SLOTS);
  }
}

it("counts what an obvious LRU lacks, sets beyond its slots among them", () => {
  const random = new Random(3);
  const caches = new UnitCaches([UNITS], [SLOTS], "lru");
  const obvious = new ObviousLru();
  let named = 0;
  for (let token = 0; token < 500; token++) {
    const scores = Float32Array.from({ length: UNITS }, (_, unit) => random.uniform() + unit / UNITS);
    const set = topUnits(scores, 1 + random.below(14));
    caches.use(0, set, scores);
    obvious.use(Array.from(set), scores);
    named += set.length;
    expect(Array.from(scores.keys()).filter((unit) => caches.holds(0, unit))).toEqual(
      obvious.held.toSorted((a, b) => a - b),
    );
  }
  expect(caches.missesByLayer[0]).toBe(obvious.misses);
  expect(caches.counters).toEqual({ named, hits: named - obvious.misses });
});

it("all units at once hit what is held, and nothing else", () => {
  const caches = new UnitCaches([UNITS], [SLOTS], "lfu");
  const scores = Float32Array.from({ length: UNITS }, (_, unit) => unit);
  for (let token = 0; token < 3; token++) caches.use(0, null, scores);
  expect(caches.missesByLayer[0]).toBe(UNITS + 2 * (UNITS - SLOTS));
});
