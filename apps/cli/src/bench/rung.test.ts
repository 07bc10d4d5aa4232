import { describe, expect, it } from "vitest";
import { counterpartOf, planLadder } from "./rung.js";

const files = { bundled: "f16.gguf", split: "split.gguf", int8: "int8.gguf" };
const plan = { files, dramBudgetBytes: 100, int8BudgetBytes: 50, threads: 2, readers: 8, tokens: 10 } as const;

describe("planLadder", () => {
  it("begins with the paper's rungs, in its order", () => {
    const paper = planLadder(plan).filter((rung) => rung.paper !== null);
    expect(paper.map(({ id, paper }) => [id, paper?.ioMs])).toEqual([
      ["naive", 2196],
      ["half", 1090],
      ["predictor", 738],
      ["window", 164],
      ["bundling", 87],
    ]);
  });
  it("changes one thing at a time: merging differs from bundling by gaps alone", () => {
    const [bundling, merging] = ["bundling", "merging"].map((id) => planLadder(plan).find((rung) => rung.id === id)!);
    const { mergeGapBytes, ...rest } = bundling!.options;
    expect(mergeGapBytes).toBe(0);
    expect(merging!.options).toEqual(rest);
    expect(merging!.file).toBe(bundling!.file);
  });
  it("leaves out what there is no file for", () => {
    const ids = planLadder({ ...plan, files: { bundled: "f16.gguf" } }).map(({ file }) => file);
    expect(new Set(ids)).toEqual(new Set(["bundled"]));
  });
  it("keeps every 16-bit rung to the one budget", () => {
    const rungs = planLadder(plan);
    const budgets = (of: typeof rungs) => new Set(of.map(({ options }) => options.dramBudgetBytes));
    expect(budgets(rungs.filter(({ id }) => id !== "int8"))).toEqual(new Set([100]));
    expect(budgets(rungs.filter(({ id }) => id === "int8"))).toEqual(new Set([50]));
  });
});

describe("counterpartOf", () => {
  it("has nothing clever, and is shared by all rungs of one dtype and mode", () => {
    const counterparts = planLadder(plan).map(counterpartOf);
    expect(new Set(counterparts.map(({ id }) => id)).size).toBe(3);
    for (const { options } of counterparts) {
      expect(options).toMatchObject({ threads: 1, readers: 0, overlap: false, lookahead: false, mergeGapBytes: 0 });
    }
  });
});
