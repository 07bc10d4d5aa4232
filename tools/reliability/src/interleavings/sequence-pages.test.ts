/** Pages of keys and values: every order of a few operations, between the parts of a step, too. */
import { describe, expect, it } from "vitest";
import type { KvPool } from "../../../../packages/runtime/src/kv-pool.js";
import { explorePages } from "./sequence-pages.js";

const DEPTH = 7;

it(`${DEPTH} operations in any order: each sequence keeps its own tokens, and all pages come back`, async () => {
  const { fault, states } = await explorePages(DEPTH);
  expect(fault).toBeNull();
  expect(states).toBeGreaterThan(500);
});

describe("a fault that is planted is found", () => {
  it.each<readonly [string, (pool: KvPool) => void, RegExp]>([
    [
      "a shared page is written to",
      (pool) => Object.assign(pool, { isShared: () => false }),
      /token \d+ of a sequence is/,
    ],
    [
      "a holder is not counted, so that its page is freed twice",
      (pool) => Object.assign(pool, { share() {} }),
      /Error/,
    ],
    [
      "a page is not given back",
      (pool) => {
        let calls = 0;
        const release = pool.release.bind(pool);
        pool.release = (page) => (++calls === 2 ? undefined : release(page));
      },
      /pages are free when nobody holds any/,
    ],
  ])("%s", async (_, sabotage, expected) => {
    expect((await explorePages(DEPTH, sabotage)).fault).toMatch(expected);
  });
});
