/** Test support: a model held against the saved logits and continuations of an independent implementation. */
import { expect } from "vitest";
import type { Golden } from "./checkpoint.fixture.js";
import type { Model } from "./model.js";
import { type ScoredPosition, scoreTokens } from "./score.js";

export type Position = Golden["cases"][number]["positions"][number];

/** Best tokens whose logits are saved. */
const TOP = 8;

/**
 * The largest distance of a token's saved logits, and of the logarithm of their sum, by position. Expects the reference's best token where the two
 * best are more than `margin` apart.
 *
 * @param at Which tokens `positions` are of.
 */
export async function farthestLogit(
  model: Model,
  tokens: readonly number[],
  positions: readonly Position[],
  margin: number,
  at: readonly number[] = [...tokens.keys()],
): Promise<number> {
  const probe = positions[0]!.probe.map(([token]) => token);
  expect(probe.length).toBeGreaterThan(0);
  expect(positions.length).toBe(at.length);
  const scored = await scoreTokens(model, tokens, { top: TOP, probe });
  expect(scored.length).toBe(tokens.length);
  let farthest = 0;
  for (const [i, position] of positions.entries()) {
    const found = scored[at[i]!]!;
    farthest = Math.max(farthest, ...distances(found, position));
    expect(position.top).toHaveLength(TOP);
    const [best, second] = position.top;
    if (best![1] - second![1] > margin) expect(found.top[0]![0]).toBe(best![0]);
  }
  return farthest;
}

function distances(found: ScoredPosition, { logSumExp, top, probe }: Position): number[] {
  return [
    Math.abs(found.logSumExp - logSumExp),
    ...top.map(([, logit], i) => Math.abs(found.top[i]![1] - logit)),
    ...probe.map(([, logit], i) => Math.abs(found.probe[i]![1] - logit)),
  ];
}

/** Expects the reference's greedy continuation of every case, up to where its choice is by less than `margin`. */
export async function expectGreedy(model: Model, { cases }: Golden, margin: number): Promise<void> {
  let compared = 0;
  for (const { tokens, greedy, greedyMargins } of cases) {
    const generated: number[] = [];
    for await (const { token } of model.generate(tokens, { maxTokens: greedy.length, ignoreEos: true })) {
      if (token !== null) generated.push(token);
    }
    const uncertain = greedyMargins.findIndex((distance) => distance <= margin);
    const certain = uncertain < 0 ? greedy.length : uncertain;
    compared += certain;
    expect(generated.slice(0, certain)).toEqual(greedy.slice(0, certain));
    expect(generated.length).toBe(greedy.length);
  }
  expect(compared).toBeGreaterThan(0);
}
