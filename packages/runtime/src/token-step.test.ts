/** What a generated token says of the step that computed it, and what observers see of drafting and of verifying. */
import { describe, expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import type { ForwardObserver } from "./forward-observer.js";
import type { GeneratedToken } from "./generation.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";
import { noisePredictor } from "./noise-predictor.fixture.js";

const NAME = "opt-tiny-sharded";
/** Ends as it began, so that there is something to look up. */
const PROMPT = [5, 9, 77, 3, 12, 60, 5, 9, 77, 3, 12];

async function openPredicted(): Promise<Model> {
  const plain = await openFixture(NAME);
  await plain.close();
  return await openFixture(NAME, { predictor: noisePredictor(plain.header), kvPrecision: "f16" });
}

async function generate(model: Model, options: GenerateOptions) {
  const items: GeneratedToken[] = [];
  const run = model.generate(PROMPT, { maxTokens: 80, ignoreEos: true, ...options });
  for (;;) {
    const next = await run.next();
    if (next.done) return { items, ...next.value };
    items.push(next.value);
  }
}

describe.each<[string, GenerateOptions]>([
  ["lookup", { speculate: "lookup", draftTokens: 5 }],
  ["auto", { speculate: "auto" }],
  ["lossless", { lossless: true, draftTokens: 4 }],
  ["off", {}],
])("drafts %s", (drafts, options) => {
  it("each token says which step computed it, and whether it was a draft", async () => {
    const model = await openPredicted();
    const { items, stats } = await generate(model, options);
    const computed = items.filter((item) => item.step !== null);
    expect(computed.map(({ stats: own }) => own === null)).not.toContain(true);
    expect(items.filter(({ stats: own }) => own !== null).length).toBe(computed.length);
    const first = computed.filter(({ step }) => step!.row === 0);
    expect(first.map(({ step }) => step!.index)).toEqual(first.map((_, i) => i));
    let at = 0;
    for (const { step } of first) {
      const { accepted, drafts, stats: cost } = step!;
      const own = computed.slice(at, at + 1 + accepted);
      expect(own.map((item) => item.step!.row)).toEqual(own.map((_, row) => row));
      expect(own.map(({ token }) => token).slice(1)).toEqual(drafts.slice(0, accepted));
      expect(own.reduce((sum, item) => sum + item.stats!.ms, 0)).toBeCloseTo(cost.ms);
      at += 1 + accepted;
      // What takes the place of a rejected draft is another token.
      if (accepted < drafts.length) expect(items[at]!.token).not.toBe(drafts[accepted]);
    }
    expect(at).toBe(computed.length);
    const sum = (pick: (step: NonNullable<GeneratedToken["step"]>) => number) =>
      first.reduce((total, { step }) => total + pick(step!), 0);
    const { drafted = 0, accepted = 0, steps = computed.length } = stats.speculation ?? {};
    expect([sum((step) => step.drafts.length), sum((step) => step.accepted), first.length]).toEqual([
      drafted,
      accepted,
      steps,
    ]);
    if (drafts === "lookup" || drafts === "lossless") expect(drafted).toBeGreaterThan(0);
    await model.close();
  });
});

/** Passes, with their rows, and how many sets each had named in the first layer. */
function counting() {
  const passes: { readonly rows: number; named: number }[] = [];
  const observer: ForwardObserver = {
    stepBegins: (rows) => void passes.push({ rows, named: 0 }),
    named: (layer) => void (layer === 0 && passes.at(-1)!.named++),
  };
  return { passes, observer };
}

describe("observers", () => {
  it("see the drafts of a lossless run and its dense passes apart, and change nothing", async () => {
    const model = await openPredicted();
    const options = { lossless: true, draftTokens: 3 } as const;
    const { tokens } = await generate(model, options);
    const [verifying, drafting] = [counting(), counting()];
    const { items, tokens: observed } = await generate(model, {
      ...options,
      observer: verifying.observer,
      draftObserver: drafting.observer,
    });
    expect(observed).toEqual(tokens);
    const steps = items.flatMap(({ step }) => (step?.row === 0 ? [step] : []));
    expect(verifying.passes).toEqual(steps.map(({ drafts }) => ({ rows: 1 + drafts.length, named: 0 })));
    expect(steps.length).toBeGreaterThan(10);
    const drafted = steps.reduce((sum, { drafts }) => sum + drafts.length, 0);
    expect(drafting.passes).toEqual(Array.from({ length: drafted }, () => ({ rows: 1, named: 1 })));
    await model.close();
  });
  it("see a set for each token of a step that verifies sparsely", async () => {
    const model = await openPredicted();
    const { passes, observer } = counting();
    const { items } = await generate(model, { speculate: "lookup", draftTokens: 3, observer, draftObserver: observer });
    const steps = items.flatMap(({ step }) => (step?.row === 0 ? [step] : []));
    expect(passes).toEqual(steps.map(({ drafts }) => ({ rows: 1 + drafts.length, named: 1 + drafts.length })));
    expect(Math.max(...passes.map(({ rows }) => rows))).toBeGreaterThan(1);
    await model.close();
  });
});
