/**
 * One step for everything: any split of tokens into steps, any mix of sequences, any budget and policy give the bits of the engine that ran one
 * token of one sequence, or a batch of one, before this one: fixtures/logit-bits.json has SHA-256 digests of its logits (commit e2b39d5; of
 * Falcon with rotary positions anew since their tables are computed in float64).
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { memorySource, type Predictor, type PredictorSource, Random, type RecordDType } from "@flashwick/core";
import { openPredictorFile } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import { type FixtureOptions, openFixture } from "./checkpoint.fixture.js";
import { ALL_NEURONS, type Chooser } from "./chooser.js";
import type { Engine } from "./engine.js";
import type { Model } from "./model.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import type { Sequence } from "./sequence.js";

interface LogitBits {
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  readonly cases: readonly {
    readonly name: string;
    readonly dtype: RecordDType;
    readonly kvPrecision: "f32" | "f16" | "int8";
    /** All logits, scored at once. */
    readonly dense: string;
    /** Logits after the prompt, prefilled, and after each token decoded. Null where nothing can be left out. */
    readonly predicted: string | null;
  }[];
}

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const BITS: LogitBits = JSON.parse(readFileSync(path("../fixtures/logit-bits.json"), "utf8"));
const { tokens: TOKENS, promptTokens: PROMPT_TOKENS } = BITS;

function digest(all: readonly Float32Array[]): string {
  const hash = createHash("sha256");
  for (const logits of all) hash.update(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
  return hash.digest("hex").slice(0, 32);
}

/** Of demo models those that the digests were made with: opt-demo's is still shipped, falcon-demo's has been replaced since. */
const PREDICTORS: Readonly<Record<string, string>> = {
  "opt-demo": "../../demo-models/models/opt-demo/opt-demo.predictor.gguf",
  "falcon-demo": "../fixtures/falcon-demo.former.predictor.gguf",
};

/** Noise for the others. */
async function predictorOf(name: string): Promise<Predictor | PredictorSource> {
  const kept = PREDICTORS[name];
  if (kept === undefined) {
    const plain = await openFixture(name);
    await plain.close();
    return noisePredictor(plain.header);
  }
  return await openPredictorFile(memorySource(readFileSync(path(kept)), name));
}

async function openWith(name: string, options: FixtureOptions, isPredicted: boolean): Promise<Model> {
  const predictor = isPredicted ? await predictorOf(name) : null;
  return await openFixture(name, { ...options, predictor, ...(isPredicted ? {} : { mode: "dense" }) });
}

/** Cuts `count` into parts of at most `most`, at random. */
function cuts(count: number, most: number, random: Random): number[] {
  const parts: number[] = [];
  for (let left = count; left > 0; left -= parts.at(-1)!) {
    parts.push(Math.min(left, 1 + Math.floor(random.uniform() * most)));
  }
  return parts;
}

/** Appends tokens in steps of these sizes, and keeps the logits after each. */
async function inSteps(sequence: Sequence, tokens: readonly number[], sizes: readonly number[], chooser: Chooser) {
  const all: Float32Array[] = [];
  let at = 0;
  for (const size of sizes) {
    const onLogits = (_: number, logits: Float32Array) => void all.push(logits.slice());
    await sequence.extend(tokens.slice(at, at + size), { chooser, logits: "all", onLogits });
    at += size;
  }
  return all;
}

/** Logits after the prompt, prefilled, and after every token in steps of these sizes, as the fixture has them. */
async function decodedInSteps(sequence: Sequence, sizes: readonly number[]): Promise<Float32Array[]> {
  const { logits } = await sequence.prefill(TOKENS.slice(0, PROMPT_TOKENS));
  const { chooser } = sequence.engine;
  return [logits, ...(await inSteps(sequence, TOKENS.slice(PROMPT_TOKENS), sizes, chooser))];
}

for (const { name, dtype, kvPrecision, dense, predicted } of BITS.cases) {
  describe(`${name} as ${dtype}, keys and values ${kvPrecision}`, () => {
    it("dense: any split into steps", async () => {
      const model = await openWith(name, { dtype, kvPrecision }, false);
      const random = new Random(1);
      await model.withSequence(TOKENS.length, async (sequence) => {
        for (const most of [1, 3, TOKENS.length]) {
          sequence.rollback(0);
          const all = await inSteps(sequence, TOKENS, cuts(TOKENS.length, most, random), ALL_NEURONS);
          expect(digest(all)).toBe(dense);
        }
      });
      await model.close();
    });
    // GELU leaves nothing at zero.
    if (predicted === null) return;
    it("predicted: any split of what is decoded into steps", async () => {
      const model = await openWith(name, { dtype, kvPrecision }, true);
      const random = new Random(2);
      const count = TOKENS.length - PROMPT_TOKENS;
      for (const most of [1, 2, 5, count]) {
        await model.withSequence(TOKENS.length, async (sequence) => {
          expect(digest(await decodedInSteps(sequence, cuts(count, most, random)))).toBe(predicted);
        });
      }
      await model.close();
    });
  });
}

describe.each(["opt-tiny-sharded", "falcon-tiny-mqa"])("%s predicted", (name) => {
  const dtype = "f16";
  const bits = BITS.cases.find((one) => one.name === name && one.dtype === dtype && one.kvPrecision === "f16")!;
  const count = TOKENS.length - PROMPT_TOKENS;

  it("any budget and policy, however many tokens a step has", async () => {
    const probe = await openWith(name, { dtype, kvPrecision: "f16" }, true);
    const { smallestBudgetBytes } = probe.plan(TOKENS.length);
    await probe.close();
    const random = new Random(3);
    for (const policy of ["window", "lru", "pinned"] as const) {
      for (const more of [0, 20_000, 60_000, 200_000]) {
        const options = { dtype, kvPrecision: "f16", policy, windowTokens: 3 } as const;
        const model = await openWith(name, { ...options, dramBudgetBytes: smallestBudgetBytes + more }, true);
        await model.withSequence(TOKENS.length, async (sequence) => {
          const most = sequence.engine.batchTokens;
          expect(digest(await decodedInSteps(sequence, cuts(count, Math.min(most, 6), random)))).toBe(bits.predicted);
        });
        await model.close();
      }
    }
  });

  it.each([2, 3, 4])("%i sequences in one engine, stepped together in any mix, each as alone", async (sequences) => {
    const model = await openWith(name, { dtype, kvPrecision: "f16", maxSequences: sequences }, true);
    const open = await Promise.all(
      Array.from({ length: sequences }, () => model.openSequence({ contextTokens: TOKENS.length })),
    );
    const logits: Float32Array[][] = [];
    for (const sequence of open) logits.push([(await sequence.prefill(TOKENS.slice(0, PROMPT_TOKENS))).logits]);
    const random = new Random(sequences);
    while (open.some(({ length }) => length < TOKENS.length)) {
      await stepTogether(open, logits, random);
    }
    for (const all of logits) expect(digest(all)).toBe(bits.predicted);
    await model.close();
  });
});

/** One step with up to three next tokens of each sequence that has any left. */
async function stepTogether(open: readonly Sequence[], logits: readonly Float32Array[][], random: Random) {
  const engine: Engine = open[0]!.engine;
  const owners: number[] = [];
  const rows = open.flatMap((sequence, index) => {
    const next = TOKENS.slice(sequence.length, sequence.length + Math.floor(4 * random.uniform()));
    for (const _ of next) owners.push(index);
    return next.map((token) => ({ sequence, token }));
  });
  if (rows.length === 0) return;
  await engine.step(rows, engine.chooser, {
    logits: "all",
    onLogits: (row, values) => void logits[owners[row]!]!.push(values.slice()),
  });
}

describe("a rejected draft", () => {
  it("leaves no trace in the tokens that follow, wherever it was rolled back", async () => {
    const name = "opt-tiny-sharded";
    const bits = BITS.cases.find((one) => one.name === name && one.dtype === "f16" && one.kvPrecision === "int8")!;
    const probe = await openWith(name, { dtype: "f16", kvPrecision: "int8" }, true);
    const { smallestBudgetBytes } = probe.plan(TOKENS.length);
    await probe.close();
    const options = { dtype: "f16", kvPrecision: "int8", dramBudgetBytes: smallestBudgetBytes + 250_000 } as const;
    const model = await openWith(name, options, true);
    await model.withSequence(TOKENS.length, async (sequence) => {
      const { engine } = sequence;
      const all = [(await sequence.prefill(TOKENS.slice(0, PROMPT_TOKENS))).logits];
      for (let at = PROMPT_TOKENS; at < TOKENS.length; at++) {
        const drafts = [TOKENS[at]!, 9, 11].slice(0, Math.min(3, TOKENS.length - at));
        let first = new Float32Array(0);
        const onLogits = (row: number, logits: Float32Array) => {
          if (row === 0) first = logits.slice();
        };
        const rows = drafts.map((token) => ({ sequence, token }));
        await engine.step(rows, engine.chooser, { logits: "all", onLogits });
        sequence.rollback(at + 1);
        engine.retract(drafts.length - 1);
        all.push(first);
      }
      expect(digest(all)).toBe(bits.predicted);
    });
    await model.close();
  });
});

describe("layers that stream beside layers that are read by neuron", () => {
  it("a step of many tokens over wide and narrow layers gives the same bits, and the next ones, too", async () => {
    const name = "opt-demo";
    const bits = BITS.cases.find((one) => one.name === name && one.dtype === "f16")!;
    const model = await openWith(name, { dtype: "f16", kvPrecision: "f16", dramBudgetBytes: 10.5 * 2 ** 20 }, true);
    const count = TOKENS.length - PROMPT_TOKENS;
    for (const sizes of [[count], [8, 1, count - 9], [1, count - 2, 1], [12, 3, count - 15]]) {
      await model.withSequence(TOKENS.length, async (sequence) => {
        expect(digest(await decodedInSteps(sequence, sizes))).toBe(bits.predicted);
      });
    }
    await model.close();
  });
});
