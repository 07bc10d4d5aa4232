import { expect, it } from "vitest";
import { brokenPromises, examplesOf } from "./readme-programs.js";

it("takes the blocks that are marked as examples", () => {
  const readme = "```ts\nconst a = 1;\n```\n\n```ts\n// example\nconsole.log(1 + 1); // -> 2\n```\n";
  expect(examplesOf(readme)).toEqual(["// example\nconsole.log(1 + 1); // -> 2\n"]);
});

it("notices a promise that is broken, also by order", () => {
  const code = "log(1); // -> 1\nlog(2); // -> 2\n";
  expect(brokenPromises(code, "1\n2\n")).toEqual([]);
  expect(brokenPromises(code, "text without an end, then 1\n2\n")).toEqual([]);
  expect(brokenPromises(code, "2\n1\n")).toEqual(["2"]);
  expect(brokenPromises(code, "")).toEqual(["1", "2"]);
});
