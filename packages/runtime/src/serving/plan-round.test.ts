import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planRound } from "./plan-round.js";

const prompts = fc
  .array(fc.integer({ min: 1, max: 40 }), { maxLength: 4 })
  .map((all) => all.map((tokens, i) => ({ text: `prompt ${i}`, tokens })));
const running = fc.integer({ min: 0, max: 9 }).map((count) => Array.from({ length: count }, (_, i) => `running ${i}`));
const limits = fc.record({ batchTokens: fc.integer({ min: 1, max: 16 }), mixes: fc.boolean() });

describe("planRound", () => {
  it("gives every running text one token, and never more than a batch to a step", () => {
    fc.assert(
      fc.property(prompts, running, limits, (waiting, texts, limit) => {
        const steps = planRound(waiting, texts, limit);
        const parts = steps.flatMap((step) => step.parts);
        expect(parts.filter(({ text }) => texts.includes(text)).map(({ text }) => text)).toEqual(texts);
        for (const step of steps) {
          const tokens = step.parts.reduce((sum, part) => sum + part.tokens, 0);
          expect(tokens).toBeGreaterThan(0);
          expect(tokens).toBeLessThanOrEqual(limit.batchTokens);
        }
      }),
    );
  });
  it("computes at most one batch of prompts, the first ones first", () => {
    fc.assert(
      fc.property(prompts, running, limits, (waiting, texts, limit) => {
        const steps = planRound(waiting, texts, limit);
        const joining = steps.flatMap(({ parts }) => parts.filter(({ text }) => text.startsWith("prompt")));
        const tokens = joining.reduce((sum, part) => sum + part.tokens, 0);
        expect(tokens > 0).toBe(waiting.length > 0);
        expect(tokens).toBeLessThanOrEqual(limit.batchTokens);
        // All but the last are whole.
        for (const [i, part] of joining.slice(0, -1).entries()) expect(part).toEqual(waiting[i]);
        expect(joining.at(-1)?.text).toBe(waiting[joining.length - 1]?.text);
      }),
    );
  });
  it("holds prompts and running texts in one step only where both name the same neurons", () => {
    fc.assert(
      fc.property(prompts, running, limits, (waiting, texts, limit) => {
        for (const { as, parts } of planRound(waiting, texts, limit)) {
          const kinds = new Set(parts.map(({ text }) => text.split(" ")[0]));
          expect(kinds.size === 1 || limit.mixes).toBe(true);
          expect(as).toBe(kinds.has("prompt") ? "prompt" : "decode");
        }
      }),
    );
  });
  it("reads the model once for a prompt and two texts, and apart where texts fill most of a batch", () => {
    const limit = { batchTokens: 4, mixes: true };
    const waiting = [{ text: "p", tokens: 9 }];
    expect(planRound(waiting, ["a", "b"], limit).map(({ parts }) => parts.map(({ text }) => text))).toEqual([
      ["p", "a", "b"],
    ]);
    expect(planRound(waiting, ["a", "b", "c"], limit).map(({ parts }) => parts.map(({ text }) => text))).toEqual([
      ["p"],
      ["a", "b", "c"],
    ]);
  });
});
