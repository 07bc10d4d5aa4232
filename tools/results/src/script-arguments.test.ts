import { afterEach, expect, it, vi } from "vitest";

// By address: the script is JavaScript, which TypeScript does not look into.
const { scriptArguments } = await import(new URL("./script-arguments.mjs", import.meta.url).href);

afterEach(() => vi.restoreAllMocks());

const SCRIPT = {
  usage: "x.mjs <model> --peer <folder>",
  words: 1,
  flags: { rounds: "3", peer: null, given: false },
  needed: ["peer"],
} as const;

it("has words, flags with their defaults, and what follows --", () => {
  expect(scriptArguments(SCRIPT, ["a", "--peer", "p", "--given", "b", "--", "--rounds", "9"])).toEqual({
    words: ["a", "b"],
    flags: { rounds: "3", peer: "p", given: true },
    more: ["--rounds", "9"],
  });
});

it.each([
  ["a word", ["--peer", "p"]],
  ["a needed flag", ["a", "--rounds", "2"]],
])("says how it is used, and ends with 2, without %s", (_, args) => {
  const exit = vi.spyOn(process, "exit").mockImplementation(() => {
    throw new Error("the process has ended");
  });
  const said = vi.spyOn(console, "error").mockImplementation(() => {});
  expect(() => scriptArguments(SCRIPT, args)).toThrow("has ended");
  expect([exit.mock.calls, said.mock.calls]).toEqual([[[2]], [[`usage: ${SCRIPT.usage}`]]]);
});

it("refuses flags that it does not know, and words where there are none", () => {
  expect(() => scriptArguments(SCRIPT, ["a", "--speed", "1"])).toThrow(/--speed/);
  expect(() => scriptArguments({ usage: "y.mjs" }, ["a"])).toThrow(/'a'/);
});
