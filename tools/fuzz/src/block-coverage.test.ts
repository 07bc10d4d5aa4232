import { Script } from "node:vm";
import { afterEach, beforeEach, expect, it } from "vitest";
import { BlockCoverage } from "./block-coverage.js";

const URL_OF_SCRIPT = "made-for-block-coverage.js";
let coverage: BlockCoverage;
let made: (text: string) => number;
beforeEach(() => {
  coverage = new BlockCoverage(URL_OF_SCRIPT);
  // The function begins after the script, which would else be one range with it.
  const source = `;(text) => {
    let sum = 0;
    for (const letter of text) {
      if (letter === "a") { sum += 1; } else if (letter === "b") { sum += 10; } else { sum += 100; }
    }
    return sum;
  }`;
  made = new Script(source, { filename: URL_OF_SCRIPT }).runInThisContext() as typeof made;
});
afterEach(() => coverage.stop());

it("a block that runs for the first time is news, once", () => {
  made("a");
  expect(coverage.takeNews()).toBe(true);
  made("aaa");
  expect(coverage.hasNews()).toBe(false);
  made("ab");
  expect(coverage.takeNews()).toBe(true);
  made("ba");
  expect(coverage.takeNews()).toBe(false);
  made("c");
  expect(coverage.takeNews()).toBe(true);
});

it("news that are only looked at stay news", () => {
  made("a");
  expect(coverage.hasNews()).toBe(true);
  expect(coverage.takeNews()).toBe(false);
  made("a");
  expect(coverage.takeNews()).toBe(true);
});

it("code of other scripts is no news", () => {
  made("abc");
  coverage.takeNews();
  expect(JSON.stringify({ a: [1] }).length).toBeGreaterThan(0);
  expect(coverage.hasNews()).toBe(false);
});
