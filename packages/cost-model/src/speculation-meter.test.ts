import { Random } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { chooseDraftTokens, expectedTokens } from "./speculation-cost.js";
import { SpeculationMeter } from "./speculation-meter.js";

/** A machine whose clock is made up: a pass over one token takes 100 ms. */
interface Machine {
  readonly draftMs: number;
  /** Of each token of a pass beyond the first. */
  readonly tokenMs: number;
  /** Every figure is off by up to this share. */
  readonly noise?: number;
}

const MOST = 8;
const PASS_MS = 100;
const verifyMs =
  ({ tokenMs }: Machine) =>
  (tokens: number) =>
    PASS_MS + tokenMs * (tokens - 1);

interface Run {
  readonly ms: number;
  readonly tokens: number;
  /** Drafts of each step. */
  readonly drafted: readonly number[];
}

/** Steps of a meter until there are `tokens`; the text accepts a draft with the probability `acceptanceAt` of its place. */
function run(
  meter: SpeculationMeter,
  machine: Machine,
  acceptanceAt: (token: number) => number,
  tokens: number,
  seed = 1,
): Run {
  const random = new Random(seed);
  const disturbed = (ms: number) => ms * (1 + (machine.noise ?? 0) * (2 * random.uniform() - 1));
  const drafted: number[] = [];
  let [ms, made] = [0, 0];
  while (made < tokens) {
    const { draftTokens } = meter.best(MOST);
    drafted.push(draftTokens);
    const draft = disturbed(machine.draftMs);
    const verify = disturbed(verifyMs(machine)(draftTokens + 1));
    let accepted = 0;
    while (accepted < draftTokens && random.uniform() < acceptanceAt(made)) accepted++;
    if (draftTokens > 0) meter.observeDraft(draft);
    meter.observeVerify(draftTokens + 1, verify);
    meter.observeAccepted(draftTokens, accepted);
    ms += draftTokens * draft + verify;
    made += accepted + 1;
  }
  return { ms, tokens: made, drafted };
}

const machines: readonly Machine[] = [
  { draftMs: 2, tokenMs: 1 },
  { draftMs: 10, tokenMs: 5 },
  { draftMs: 30, tokenMs: 2, noise: 0.2 },
  { draftMs: 60, tokenMs: 30, noise: 0.2 },
  { draftMs: 90, tokenMs: 10 },
];

describe("SpeculationMeter", () => {
  it.each(machines.flatMap((machine) => [0.3, 0.6, 0.8, 0.95].map((acceptance) => ({ machine, acceptance }))))(
    "converges to the best number of drafts: $machine.draftMs ms a draft, acceptance $acceptance",
    ({ machine, acceptance }) => {
      const best = chooseDraftTokens({ ...machine, verifyMs: verifyMs(machine), acceptance }, MOST);
      const { drafted } = run(new SpeculationMeter(), machine, () => acceptance, 2000, 3);
      const late = drafted.slice(-Math.floor(drafted.length / 2));
      // Held against expectation and not against luck: what these choices cost and give on average.
      const ms = late.reduce((sum, n) => sum + n * machine.draftMs + verifyMs(machine)(n + 1), 0);
      const tokens = late.reduce((sum, n) => sum + expectedTokens(acceptance, n), 0);
      expect(ms / tokens).toBeLessThan(best.msPerToken * 1.03);
    },
  );
  it("drafts all it may where everything is accepted", () => {
    const { drafted } = run(new SpeculationMeter(), machines[1]!, () => 1, 400);
    expect(drafted.slice(-20)).toEqual(new Array(20).fill(MOST));
  });
  it.each(machines)("a text that never accepts costs at most 3 %: $draftMs ms a draft", (machine) => {
    const plain = { ...machine, noise: 0 };
    const { ms, tokens } = run(new SpeculationMeter(), plain, () => 0, 400);
    expect(tokens).toBe(400);
    expect(ms).toBeLessThan(1.03 * 400 * PASS_MS);
  });
  it.each(machines)(
    "trying again costs less than 2 % where nothing is accepted any more: $draftMs ms a draft",
    (machine) => {
      const plain = { ...machine, noise: 0 };
      const meter = new SpeculationMeter();
      run(meter, plain, () => 0, 200);
      const { ms, drafted } = run(meter, plain, () => 0, 1000);
      expect(drafted.some((n) => n > 0)).toBe(true);
      expect(ms).toBeLessThan(1.02 * 1000 * PASS_MS);
    },
  );
  it("finds out that a text has become predictable", () => {
    const meter = new SpeculationMeter();
    const machine = machines[1]!;
    run(meter, machine, () => 0, 500);
    expect(meter.acceptance).toBeLessThan(0.05);
    const { ms, tokens } = run(meter, machine, () => 0.9, 300);
    const best = chooseDraftTokens({ ...machine, verifyMs: verifyMs(machine), acceptance: 0.9 }, MOST);
    expect(meter.best(MOST).draftTokens).toBeGreaterThan(2);
    // Half of what could be won is won within the 300 tokens, the search included.
    expect(ms / tokens).toBeLessThan((PASS_MS + best.msPerToken) / 2);
  });
  it("stops where a text stops accepting", () => {
    const meter = new SpeculationMeter();
    run(meter, machines[1]!, () => 0.9, 300);
    const { drafted } = run(meter, machines[1]!, () => 0, 400);
    const late = drafted.slice(-100);
    expect(late.filter((n) => n === 0).length).toBeGreaterThan(85);
  });
  it("begins with what the cost model expects of drafts and passes", () => {
    const machine = machines[1]!;
    const meter = new SpeculationMeter({ acceptance: 0.8, draftMs: machine.draftMs, verifyMs: verifyMs(machine) });
    const expected = chooseDraftTokens({ ...machine, verifyMs: verifyMs(machine), acceptance: 0.8 }, MOST);
    const { draftTokens, tokensPerStep, gain } = meter.best(MOST);
    expect([draftTokens, meter.acceptance]).toEqual([expected.draftTokens, 0.8]);
    expect([tokensPerStep, gain]).toEqual([expect.closeTo(expected.tokensPerStep), expect.closeTo(expected.gain)]);
  });
  it("does not draft from the start where the cost model says that it loses", () => {
    const meter = new SpeculationMeter({ acceptance: 0.2, draftMs: 90, verifyMs: (n) => 50 + 50 * n });
    expect(meter.best(MOST)).toEqual({ draftTokens: 0, tokensPerStep: 1, gain: 1 });
  });
  it("fits a line through passes of several lengths, and follows the machine when it slows down", () => {
    const meter = new SpeculationMeter();
    for (const tokens of [1, 3, 5]) meter.observeVerify(tokens, 40 + 10 * tokens);
    for (const tokens of [1, 2, 9]) expect(meter.verifyMs(tokens)).toBeCloseTo(40 + 10 * tokens, 9);
    for (let i = 0; i < 100; i++) for (const tokens of [1, 3, 5]) meter.observeVerify(tokens, 80 + 20 * tokens);
    for (const tokens of [1, 2, 9]) expect(meter.verifyMs(tokens)).toBeCloseTo(80 + 20 * tokens, 3);
  });
  it("keeps the slope through a long time of single tokens, to the last digit that matters", () => {
    const meter = new SpeculationMeter();
    for (const tokens of [1, 3, 5]) meter.observeVerify(tokens, 90 + 10 * tokens);
    for (let i = 0; i < 5000; i++) meter.observeVerify(1, 100 + (i % 7) - 3);
    expect(meter.verifyMs(5) - meter.verifyMs(1)).toBeGreaterThan(30);
    expect(meter.verifyMs(5) - meter.verifyMs(1)).toBeLessThan(50);
  });
  it("a pass over more tokens never seems to take less, whatever noise says", () => {
    const meter = new SpeculationMeter();
    meter.observeVerify(1, 100);
    meter.observeVerify(5, 60);
    expect(meter.verifyMs(5)).toBeGreaterThanOrEqual(meter.verifyMs(1));
  });
  it("asking changes nothing, and no drafts are proposed where none are allowed", () => {
    const meter = new SpeculationMeter();
    expect(meter.best(0).draftTokens).toBe(0);
    run(meter, machines[1]!, () => 0.7, 100);
    expect(meter.best(MOST)).toEqual(meter.best(MOST));
    expect(meter.best(0)).toEqual({ draftTokens: 0, tokensPerStep: 1, gain: 1 });
  });
});

it("drafts as many as the prior says while nothing is known of what drafts and passes cost", () => {
  expect(new SpeculationMeter().best(8).draftTokens).toBe(1);
  const told = new SpeculationMeter({ firstDraftTokens: 6 });
  expect(told.best(8).draftTokens).toBe(6);
  expect(told.best(3).draftTokens).toBe(3);
});
