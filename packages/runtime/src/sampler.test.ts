import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { argmax, createSampler, likeliestTokens, logSumExp } from "./sampler.js";

const logits = Float32Array.of(1, 3, 2, 3, -5);

/** How often each token is drawn. */
function counts(sampler: (logits: Float32Array) => number, draws = 4000): number[] {
  const seen = new Array(logits.length).fill(0);
  for (let i = 0; i < draws; i++) seen[sampler(logits)]++;
  return seen;
}

describe("createSampler", () => {
  it("is greedy by default and takes the lower of equal tokens", () => {
    expect(createSampler()(logits)).toBe(1);
    expect(argmax(Float32Array.of(-1, -1))).toBe(0);
  });
  it("draws in proportion to exp(logit / temperature)", () => {
    const seen = counts(createSampler({ temperature: 1, seed: 7 }));
    const total = [...logits].reduce((sum, logit) => sum + Math.exp(logit), 0);
    for (const [token, count] of seen.entries()) {
      expect(Math.abs(count / 4000 - Math.exp(logits[token]!) / total)).toBeLessThan(0.03);
    }
  });
  it("keeps the k largest", () => {
    const seen = counts(createSampler({ temperature: 5, topK: 2 }));
    expect(seen.map((count) => count > 0)).toEqual([false, true, false, true, false]);
  });
  it("keeps the fewest tokens that reach p", () => {
    // p(1) = p(3) = 0.397, p(2) = 0.146, p(0) = 0.054
    expect(counts(createSampler({ temperature: 1, topP: 0.5 })).map((n) => n > 0)).toEqual([
      false,
      true,
      false,
      true,
      false,
    ]);
    expect(counts(createSampler({ temperature: 1, topP: 0.9 })).map((n) => n > 0)).toEqual([
      false,
      true,
      true,
      true,
      false,
    ]);
  });
  it("gives the same tokens for the same seed, others for another", () => {
    const draw = (seed: number) => {
      const sampler = createSampler({ temperature: 2, seed });
      return Array.from({ length: 40 }, () => sampler(logits));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });
  it.each([
    [{ temperature: -1 }, /temperature is -1/],
    [{ topP: 0 }, /topP is 0/],
    [{ topK: 1.5 }, /topK is 1.5/],
    [{ seed: Number.NaN }, /seed is NaN/],
  ])("refuses %j", (options, message) => {
    expect(() => createSampler(options)).toThrowError(message);
  });
});

describe.each([
  ["greedy", {}],
  ["at temperature 1", { temperature: 1 }],
  ["with top-k and top-p", { temperature: 0.7, topK: 3, topP: 0.9 }],
])("logits that are no distribution gave no token: %s", (_, options) => {
  it.each([
    ["NaN in the middle", [1, 2, Number.NaN, Number.NaN], /logit 2 of 4: expected a number, found NaN/],
    ["NaN first", [Number.NaN, 2], /logit 0 of 2: expected a number, found NaN/],
    ["all -Infinity", [-Infinity, -Infinity], /logit 0 of 2: expected the largest to be finite, found -Infinity/],
    ["+Infinity", [1, Infinity, 2], /logit 1 of 3: expected the largest to be finite, found Infinity/],
    ["no logits", [], /of 0: expected the largest to be finite/],
  ])("%s is a typed error", (_, values, message) => {
    const draw = () => createSampler(options)(Float32Array.from(values));
    expect(draw).toThrowError(message);
    expect(draw).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });

  it("-Infinity among others is a token that is never drawn", () => {
    const sampler = createSampler(options);
    for (let i = 0; i < 50; i++) expect([1, 2]).toContain(sampler(Float32Array.of(-Infinity, 3, 2, -Infinity)));
  });
});

it("logSumExp does not overflow", () => {
  expect(logSumExp(Float32Array.of(1000, 1000))).toBeCloseTo(1000 + Math.log(2), 9);
});

it("the likeliest tokens are the first of all, sorted: of equals the lower id first", () => {
  // Few values, so that many are equal.
  const logit = fc.constantFrom(-Infinity, -2, -0, 0, 0.5, 7);
  fc.assert(
    fc.property(fc.array(logit, { minLength: 1, maxLength: 80 }), fc.integer({ min: 1, max: 90 }), (values, count) => {
      const sorted = values.map((_, i) => i).sort((a, b) => values[b]! - values[a]! || a - b);
      expect(likeliestTokens(Float32Array.from(values), count)).toEqual(sorted.slice(0, count));
    }),
  );
});
