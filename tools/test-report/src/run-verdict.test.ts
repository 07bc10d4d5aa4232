import { neededCapabilities } from "@flashwick/test-capabilities";
import { expect, it } from "vitest";
import { judgeRun, type TestOutcome } from "./run-verdict.js";

const passed = (title: string): TestOutcome => ({ title, state: "passed", note: null });
const skipped = (title: string, note: string | null = null): TestOutcome => ({ title, state: "skipped", note });

function judge(outcomes: readonly TestOutcome[], required: readonly string[] = [], failuresOutsideTests = 0) {
  return judgeRun({ outcomes, failuresOutsideTests, required, neededBy: neededCapabilities });
}

it("counts tests, and what fails outside of them as failed", () => {
  const outcomes = [passed("a"), passed("b"), { title: "c", state: "failed", note: null } as const, skipped("d")];
  expect(judge(outcomes).counts).toBe("2 passed, 1 failed, 1 skipped");
  expect(judge(outcomes, [], 2).counts).toBe("2 passed, 3 failed, 1 skipped");
  expect(judge([]).counts).toBe("0 passed, 0 failed, 0 skipped");
});

it("names what was skipped, and why, and accepts it where nothing is required", () => {
  const { skipped: names, complaints } = judge([skipped("a [needs webgpu: no driver]"), skipped("b", "no luck")]);
  expect(names).toEqual(["a [needs webgpu: no driver]", "b (no luck)"]);
  expect(complaints).toEqual([]);
});

it("a required capability that no test has used is refused", () => {
  expect(judge([passed("a [needs webgpu]")], ["webgpu"]).complaints).toEqual([]);
  expect(judge([passed("a")], ["webgpu"]).complaints).toEqual([
    "webgpu is required, but no test that needs it has run",
  ]);
});

it("a skip within a required capability is refused, one within another is not", () => {
  const outcomes = [
    passed("a [needs webgpu]"),
    skipped("b [needs webgpu]", "lost"),
    skipped("c [needs linux: darwin]"),
  ];
  expect(judge(outcomes, ["webgpu"]).complaints).toEqual(["b [needs webgpu] (lost): skipped, but webgpu is required"]);
});

it("a skip that names no capability is refused where anything is required", () => {
  const outcomes = [passed("a [needs webgpu]"), skipped("b")];
  expect(judge(outcomes, ["webgpu"]).complaints).toEqual(["b: skipped, and its title names nothing that it needs"]);
});
