/**
 * Mixtures of experts against saved references of an independent implementation (transformers, float32), from checkpoints and from files of llama.cpp's.
 * gpt-oss.gguf is written as llama.cpp's converter does, in BF16, and holds without loss the checkpoint whose reference is named.
 */

import { memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import {
  type FixtureOptions,
  type Golden,
  ggufBytes,
  modelBytes,
  openFixture,
  openModelBytes,
  readGolden,
} from "./checkpoint.fixture.js";
import { requireDeviceModel } from "./device-compute.js";
import type { ForwardObserver } from "./forward-observer.js";
import { expectGreedy, farthestLogit } from "./golden.fixture.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";
import { scoreTokens } from "./score.js";
import type { Drafter } from "./speculation/drafter.js";
import { ModelDrafter } from "./speculation/model-drafter.js";

/** Activations are rounded to 15 bits before they meet blocks. */
const BLOCKS = { tolerance: 2e-2, margin: 0.05 };

/** float32 in another order of summation. */
const FLOATS = { tolerance: 2e-3, margin: 0.01 };

/** What a golden has beside {@link Golden}: the experts of every position by layer, null for a dense one; ids in no particular order here. */
interface ExpertCase {
  readonly tokens: readonly number[];
  readonly expertsPerPosition?: readonly (readonly (readonly number[])[] | null)[];
}

const CHECKPOINTS = [
  ["mixtral-tiny", "f32", "f16", "bf16"],
  ["olmoe-tiny", "f32", "f16", "bf16"],
  ["olmoe-demo", "f32", "f16"],
  ["qwen2-moe-tiny", "f32", "f16"],
  ["qwen3-moe-tiny", "f32", "f16"],
  ["gpt-oss-tiny", "f32", "bf16"],
] as const;
const FILES = [
  ...["mixtral", "olmoe", "qwen3moe"].map((file) => ({ file, name: `gguf-${file}`, ...BLOCKS })),
  { file: "gpt-oss", name: "gpt-oss-tiny", ...FLOATS },
];

const MODELS = [
  ...CHECKPOINTS.flatMap(([name, ...dtypes]) =>
    dtypes.map((dtype) => ({
      ...{ name, title: `${name} as ${dtype}`, ...FLOATS },
      open: (options: FixtureOptions) => openFixture(name, { ...options, dtype }),
    })),
  ),
  ...FILES.map(({ file, ...reference }) => ({
    ...{ ...reference, title: `${file}.gguf` },
    open: (options: FixtureOptions) => openModelBytes(ggufBytes(file), file, options),
  })),
];

async function logitsOf(model: Model, tokens: readonly number[]): Promise<number[]> {
  const scored = await scoreTokens(model, tokens, { top: 8, probe: [1, 2, 3] });
  return scored.flatMap(({ logSumExp, top, probe }) => [logSumExp, ...top.flat(), ...probe.flat()]);
}

/** The bits of every token's logits, in steps of these. */
async function allLogits(model: Model, steps: readonly (readonly number[])[]): Promise<string[]> {
  const all: string[] = [];
  const onLogits = (_: number, logits: Float32Array) =>
    void all.push(Buffer.from(logits.slice().buffer).toString("hex"));
  await model.withSequence(32, async (sequence) => {
    for (const tokens of steps) await sequence.extend(tokens, { logits: "all", onLogits });
  });
  return all;
}

async function generatedTokens(model: Model, prompt: readonly number[], options: GenerateOptions): Promise<number[]> {
  const tokens: number[] = [];
  for await (const { token } of model.generate(prompt, { maxTokens: 40, ignoreEos: true, ...options })) {
    if (token !== null) tokens.push(token);
  }
  return tokens;
}

/** By layer and position: the experts that were used, ascending. */
async function expertsOf(model: Model, tokens: readonly number[]): Promise<number[][][]> {
  const seen: number[][][] = model.header.geometry.layers.map(() => []);
  const observer = { named: (layer: number, named: Uint32Array) => void seen[layer]!.push([...named]) };
  await model.withSequence(tokens.length, async (sequence) => void (await sequence.extend(tokens, { observer })));
  return seen;
}

/** Proposes tokens that hardly any text has: most are rejected, and the caches have to forget them. */
const WRONG_DRAFTS: Drafter = {
  name: "wrong",
  propose: async ({ pending }, most) => ({
    tokens: Array.from({ length: most }, (_, i) => (7 * pending + 31 * i) % 200),
    costs: [],
  }),
  close: async () => {},
};

it("is refused to a graphics processor before anything is computed", async () => {
  const { header } = await openModelFile(memorySource(ggufBytes("olmoe"), "olmoe"));
  expect(() => requireDeviceModel(header)).toThrow(/experts of a mixture are computed on the processor only/);
});

describe.each(MODELS)("$title", ({ name, open, tolerance, margin }) => {
  const golden: Golden = readGolden(name);

  it.each(["reference", "wasm"] as const)(
    `on %s gives the reference's logits within ${tolerance}`,
    async (backend) => {
      const model = await open({ backend });
      for (const { tokens, positions } of golden.cases) {
        expect(await farthestLogit(model, tokens, positions, margin)).toBeLessThan(tolerance);
      }
      await model.close();
    },
    60_000,
  );

  it(`continues greedily as the reference does where its margin exceeds ${margin}`, async () => {
    const model = await open({});
    await expectGreedy(model, golden, margin);
    await model.close();
  });

  const withExperts = (golden.cases as readonly ExpertCase[]).filter(({ expertsPerPosition }) => expertsPerPosition);
  // References of files of llama.cpp's do not say which they used.
  if (withExperts.length > 0)
    it("uses the reference's experts at every position", async () => {
      const model = await open({});
      for (const { tokens, expertsPerPosition } of withExperts) {
        const ascending = expertsPerPosition!.map((layer) =>
          (layer ?? []).map((ids) => [...ids].sort((a, b) => a - b)),
        );
        expect(await expertsOf(model, tokens)).toEqual(ascending);
      }
      await model.close();
    });

  it("streamed gives the bits of resident, in every budget from the smallest on, with every policy", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 24);
    const options = { contextTokens: 32, kvPrecision: "f32" as const };
    const resident = await open(options);
    const expected = await logitsOf(resident, tokens);
    await resident.close();
    for (const [share, cacheScope, policy] of [
      [0, "layer", "window"],
      [0, "pool", "least-stale"],
      [0.2, "layer", "lfu"],
      [0.3, "pool", "lru"],
      [0.5, "layer", "s3-fifo"],
      [0.6, "pool", "lfu"],
      [0.9, "layer", "pinned"],
    ] as const) {
      const whole = await open({ ...options, cacheScope });
      // A pool's slots are all of the largest expert's size.
      const { smallestBudgetBytes, dram } = whole.plan(32);
      await whole.close();
      const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
      const model = await open({ ...options, dramBudgetBytes, cacheScope, policy });
      expect(await logitsOf(model, tokens), `${share} ${cacheScope} ${policy}`).toEqual(expected);
      await model.close();
    }
  });

  it("a token by itself has the bits that it has in a batch, whatever DRAM holds and whoever looks ahead", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 16);
    const options = { contextTokens: 32, kvPrecision: "f32" as const };
    const resident = await open(options);
    const together = await allLogits(resident, [tokens]);
    await resident.close();
    for (const more of [
      {},
      { lookahead: true },
      { lookahead: true, cacheScope: "pool" },
      { overlap: false },
    ] as const) {
      const whole = await open({ ...options, ...more });
      const { smallestBudgetBytes, dram } = whole.plan(32);
      await whole.close();
      for (const share of [0, 0.4]) {
        const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
        const model = await open({ ...options, dramBudgetBytes, ...more });
        const apart = await allLogits(
          model,
          tokens.map((token) => [token]),
        );
        expect(apart, `${share} ${JSON.stringify(more)}`).toEqual(together);
        await model.close();
      }
    }
  });

  it("an observer hears a token's experts while the cache is as it was before: those it lacks are the misses", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 24);
    const options = { contextTokens: 32, kvPrecision: "f32" as const };
    const whole = await open(options);
    const { smallestBudgetBytes, dram } = whole.plan(32);
    await whole.close();
    const dramBudgetBytes = Math.ceil((smallestBudgetBytes + dram.total) / 2);
    const model = await open({ ...options, dramBudgetBytes });
    let [used, missing] = [0, 0];
    const named: ForwardObserver["named"] = (layer, experts, engine) => {
      const held = new Set(engine.residentNeurons(layer));
      used += experts.length;
      missing += experts.filter((expert) => !held.has(expert)).length;
    };
    const counted = await model.withSequence(32, async (sequence) => {
      let [hits, misses] = [0, 0];
      for (const token of tokens) {
        const { stats } = await sequence.decode(token, undefined, { named });
        hits += stats.cacheHits;
        misses += stats.cacheMisses;
      }
      return { hits, misses };
    });
    expect(counted).toEqual({ hits: used - missing, misses: missing });
    expect(missing).toBeGreaterThan(0);
    expect(missing).toBeLessThan(used);
    await model.close();
  });

  it.each(["layer", "pool"] as const)(
    "drafts leave the text as it is, also where most are rejected, with experts cached by %s",
    async (cacheScope) => {
      const prompt = golden.cases.at(-1)!.tokens.slice(0, 20);
      const options = { contextTokens: 64, kvPrecision: "f16" as const, cacheScope };
      const resident = await open(options);
      const { smallestBudgetBytes, dram } = resident.plan(64);
      const dramBudgetBytes = Math.ceil((smallestBudgetBytes + dram.total) / 2);
      const streamed = await open({ ...options, dramBudgetBytes });
      const drafter = new ModelDrafter(await open(options), streamed);
      for (const sampling of [{ temperature: 0 }, { temperature: 0.8, seed: 4 }]) {
        const plain = await generatedTokens(resident, prompt, sampling);
        for (const speculate of ["lookup", drafter, WRONG_DRAFTS] as const) {
          expect(await generatedTokens(streamed, prompt, { ...sampling, speculate, draftTokens: 4 })).toEqual(plain);
        }
      }
      for (const opened of [resident, drafter, streamed]) await opened.close();
    },
  );
});

describe("what is damaged", () => {
  const tokens = readGolden("olmoe-tiny").cases.at(-1)!.tokens.slice(0, 16);

  it("an expert's record is found when it is read, and no token comes of it", async () => {
    const bytes = (await modelBytes("olmoe-tiny", "f32")).slice();
    const { header } = await openModelFile(memorySource(bytes, "olmoe-tiny"));
    const { offset, strideBytes } = header.experts[1]!.matrices[0]!;
    for (let expert = 0; expert < 16; expert++) bytes[offset + expert * strideBytes + 100]! ^= 4;
    const model = await openModelBytes(bytes, "olmoe-tiny", { contextTokens: 32 });
    await expect(allLogits(model, [tokens])).rejects.toMatchObject({
      ...{ name: "IntegrityError", code: "INTEGRITY_EXPERT" },
      details: { layer: 1 },
    });
    await model.close();
  });

  it("a router that gives NaN is found in a file without checksums", async () => {
    const bytes = ggufBytes("olmoe").slice();
    const { header } = await openModelFile(memorySource(bytes, "olmoe.gguf"));
    const { offset, dtype } = header.tensors.get("blk.1.ffn_gate_inp.weight")!;
    expect(dtype).toBe("f32");
    new DataView(bytes.buffer).setFloat32(offset, Number.NaN, true);
    const model = await openModelBytes(bytes, "olmoe.gguf", { contextTokens: 32 });
    await expect(allLogits(model, [tokens])).rejects.toMatchObject({
      ...{ name: "IntegrityError", code: "INTEGRITY_ROUTER" },
      details: { layer: 1, expert: 0 },
    });
    // The model can still be asked, and says the same.
    await expect(allLogits(model, [tokens])).rejects.toMatchObject({ code: "INTEGRITY_ROUTER" });
    await model.close();
  });
});
