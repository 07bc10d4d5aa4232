/** Models that are read by columns: the same logits bit for bit over budgets, policies, batches, backends and late reads, dense and pruned. */
import type { RecordDType } from "@flashwick/core";
import type { FlashRun } from "@flashwick/flash-io";
import { describe, expect, it } from "vitest";
import { type FixtureOptions, modelBytes, openFixture, openModelBytes, readGolden } from "./checkpoint.fixture.js";
import { farthestLogit } from "./golden.fixture.js";
import { mirroredKernels } from "./mirrored-kernels.fixture.js";
import { Model } from "./model.js";
import type { ModelOptions } from "./model-options.js";
import { PlannedPruner } from "./pruning/planned-pruner.js";
import { PruningChooser } from "./pruning/pruning-chooser.js";
import { dipShares, type PruningPlan, uniformPlan } from "./pruning/pruning-plan.js";
import { UnitCaches } from "./pruning/unit-caches.js";
import type { Sequence } from "./sequence.js";

const TOKENS = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210, 77, 301];
const NAMES = ["llama-tiny", "qwen2-tiny", "phi-tiny", "gemma3-tiny", "opt-tiny-postnorm", "falcon-tiny-gqa"];
/** Of an arena beside what it hands out: what it reserves for a module, and up to a page. */
const ARENA_OVERHEAD_BYTES = 2 * 65536;
const KV = { kvPrecision: "int8" } as const;

const dip = (nLayers: number, keep = 0.6): PruningPlan => uniformPlan("dip", nLayers, dipShares(keep));

async function open(name: string, options: FixtureOptions = {}): Promise<Model> {
  return await openFixture(name, { ...KV, dtype: "f16", ...options, layout: "columns" });
}

async function planFor(name: string, keep?: number): Promise<PruningPlan> {
  const model = await open(name);
  const { length } = model.header.geometry.layers;
  await model.close();
  return dip(length, keep);
}

/** The least budget, and some up to that of everything. */
async function budgetsOf(name: string, options: FixtureOptions = {}): Promise<number[]> {
  const model = await open(name, { ...options, contextTokens: TOKENS.length });
  const { smallestBudgetBytes, dram } = model.plan(TOKENS.length);
  await model.close();
  return [0, 0.1, 0.4, 0.8].map((share) => Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes)));
}

/** In steps of so many tokens, as the engine's mode says. */
async function stepwise(sequence: Sequence, stepTokens: number, tokens = TOKENS): Promise<Float32Array[]> {
  const all: Float32Array[] = [];
  const onLogits = (_: number, logits: Float32Array) => void all.push(logits.slice());
  for (let at = 0; at < tokens.length; at += stepTokens) {
    await sequence.extend(tokens.slice(at, at + stepTokens), { logits: "all", onLogits });
  }
  return all;
}

async function logitsOf(model: Model, stepTokens = 1): Promise<Float32Array[]> {
  try {
    return await model.withSequence(TOKENS.length, (sequence) => stepwise(sequence, stepTokens));
  } finally {
    await model.close();
  }
}

describe.each(NAMES)("%s by columns", (name) => {
  it("dense has one set of bits, whatever the budget, the batch and the policy", async () => {
    const dense = await logitsOf(await open(name, { mode: "dense" }));
    for (const dramBudgetBytes of await budgetsOf(name)) {
      for (const stepTokens of [1, 5, TOKENS.length]) {
        expect(await logitsOf(await open(name, { mode: "dense", dramBudgetBytes }), stepTokens)).toEqual(dense);
      }
      expect(await logitsOf(await open(name, { mode: "dense", dramBudgetBytes, slowReads: true }))).toEqual(dense);
    }
  });

  it("pruned has the bits of the same file in DRAM, whatever is read, and however a text is cut", async () => {
    const plan = await planFor(name);
    const resident = await logitsOf(await open(name, { pruning: { plan } }));
    expect(resident).not.toEqual(await logitsOf(await open(name, { mode: "dense" })));
    for (const dramBudgetBytes of await budgetsOf(name)) {
      const pruning = { plan };
      for (const stepTokens of [1, 2, 5, TOKENS.length]) {
        expect(await logitsOf(await open(name, { pruning, dramBudgetBytes }), stepTokens)).toEqual(resident);
      }
      for (const policy of ["window", "lru", "pinned", "s3-fifo"] as const) {
        for (const windowTokens of [1, 3]) {
          const model = await open(name, { pruning, dramBudgetBytes, policy, windowTokens, overlap: windowTokens > 1 });
          expect(await logitsOf(model, windowTokens)).toEqual(resident);
        }
      }
      const merging = { mergeGapBytes: 4096, slowReads: true, dramBudgetBytes: dramBudgetBytes + 16_384 } as const;
      expect(await logitsOf(await open(name, { pruning, ...merging }))).toEqual(resident);
    }
  });

  it("a plan that keeps all is dense, and a γ of 1 is the plan without one", async () => {
    const dense = await logitsOf(await open(name, { mode: "dense" }));
    const budgets = await budgetsOf(name);
    const { length } = (await planFor(name)).layers;
    const counted = { ...dip(length), layers: Array.from({ length }, () => ({ inputs: top(1), outputs: top(1) })) };
    for (const plan of [dip(length, 1), counted]) {
      expect(await logitsOf(await open(name, { pruning: { plan } }))).toEqual(dense);
      expect(await logitsOf(await open(name, { pruning: { plan, gamma: 0.3 }, dramBudgetBytes: budgets[1] }))).toEqual(
        dense,
      );
    }
    const [plan, dramBudgetBytes] = [dip(length), budgets[2]];
    const plain = await logitsOf(await open(name, { pruning: { plan }, dramBudgetBytes }));
    expect(await logitsOf(await open(name, { pruning: { plan, gamma: 1 }, dramBudgetBytes }))).toEqual(plain);
    expect(await logitsOf(await open(name, { pruning: { plan, gamma: 0.2 }, dramBudgetBytes }))).not.toEqual(plain);
  });

  it("a memory apart gives the same bits", async () => {
    const plan = await planFor(name);
    for (const options of [{ mode: "dense" }, { pruning: { plan } }] as const) {
      const expected = await logitsOf(await open(name, options));
      for (const dramBudgetBytes of (await budgetsOf(name)).slice(1, 3)) {
        for (const stepTokens of [1, 5]) {
          const wasm = await open(name, options);
          const parts = { ...wasm.parts, kernels: mirroredKernels };
          expect(await logitsOf(new Model(parts, { ...KV, ...options, dramBudgetBytes }), stepTokens)).toEqual(
            expected,
          );
        }
      }
    }
  });

  it("dense gives the reference's logits within 1e-3 in f32", async () => {
    const model = await openFixture(name, { dtype: "f32", layout: "columns", kvPrecision: "f32" });
    for (const { tokens, positions } of readGolden(name).cases) {
      expect(await farthestLogit(model, tokens, positions, 1e-3)).toBeLessThan(1e-3);
    }
    await model.close();
  });
});

function top(share: number) {
  return { rule: "top", share } as const;
}

it.each<RecordDType>(["f32", "int8", "q4"])("columns of %s have the same bits from flash as in DRAM", async (dtype) => {
  const name = "llama-tiny";
  const plan = await planFor(name);
  for (const options of [{ mode: "dense" }, { pruning: { plan } }] as const) {
    const resident = await logitsOf(await open(name, { ...options, dtype }));
    for (const dramBudgetBytes of (await budgetsOf(name, { dtype })).slice(0, 2)) {
      expect(await logitsOf(await open(name, { ...options, dtype, dramBudgetBytes }))).toEqual(resident);
    }
  }
});

it.each(["teal", "dip-norms"] as const)("%s has the same bits from flash as in DRAM", async (method) => {
  const name = "llama-tiny";
  const { length } = (await planFor(name)).layers;
  const above = (threshold: number) => ({ rule: "above", threshold }) as const;
  const plan: PruningPlan =
    method === "teal"
      ? { ...dip(length), method, layers: Array.from({ length }, () => ({ inputs: above(0.3), outputs: above(0.01) })) }
      : { ...dip(length), method };
  const resident = await logitsOf(await open(name, { pruning: { plan } }));
  expect(resident).not.toEqual(await logitsOf(await open(name, { pruning: { plan: dip(length) } })));
  for (const dramBudgetBytes of await budgetsOf(name)) {
    expect(await logitsOf(await open(name, { pruning: { plan }, dramBudgetBytes }))).toEqual(resident);
  }
});

it("several arenas hold a model by columns", async () => {
  const name = "llama-tiny";
  const plan = await planFor(name);
  const expected = await logitsOf(await open(name, { pruning: { plan } }));
  const model = await open(name, {
    pruning: { plan },
    dramBudgetBytes: (await budgetsOf(name))[3],
    maxArenaBytes: 500_000,
  });
  const arenas = await model.withSequence(
    TOKENS.length,
    async ({ engine }) => new Set(engine.layers.map((l) => l.context)).size,
  );
  expect(arenas).toBeGreaterThan(1);
  expect(await logitsOf(model)).toEqual(expected);
});

describe("what is read", () => {
  // Its head is tied: no row of a table is read beside columns.
  const NAME = "qwen2-tiny";
  /** The engine's own caches, shadowed. */
  const shadows = (model: Model) => {
    const { slotsByLayer, inputSlotsByLayer } = model.plan(TOKENS.length);
    const { dModel, layers } = model.header.geometry;
    return {
      inputs: new UnitCaches(
        layers.map(() => dModel),
        inputSlotsByLayer,
        "lfu",
      ),
      outputs: new UnitCaches(
        layers.map(({ ffn }) => ffn.dFf),
        slotsByLayer,
        "lfu",
      ),
    };
  };

  it.each([
    ["DIP", 1],
    ["DIP-CA", 0.3],
  ])("%s reads from flash what its counted caches lack, to the byte", async (_, gamma) => {
    const plan = await planFor(NAME, 0.7);
    for (const dramBudgetBytes of await budgetsOf(NAME)) {
      const options = { pruning: { plan, gamma }, dramBudgetBytes, mergeGapBytes: 0 };
      const model = await open(NAME, options);
      const caches = shadows(model);
      const counted = new PlannedPruner(plan, {
        ...{ caches, gamma },
        onChosen: (stage, layer, set, scores) => caches[stage].use(layer, set, scores),
      });
      const { weights } = model.header;
      if (weights.layout !== "columns") throw new Error("columns");
      const read = await model.withSequence(TOKENS.length, async (sequence) => {
        const stats = [];
        for (const token of TOKENS) stats.push((await sequence.decode(token)).stats);
        const { length } = TOKENS;
        // The same tokens with the pruner of the counted caches: of the engine's bytes only the choices matter.
        sequence.rollback(0);
        await sequence.extend(TOKENS.slice(0, length), { chooser: new PruningChooser(counted) });
        return stats;
      });
      await model.close();
      const bytes = (["inputs", "outputs"] as const).map(
        (stage) => weights[stage].strideBytes * caches[stage].missesByLayer.reduce((sum, n) => sum + n, 0),
      );
      expect(read.reduce((sum, { flashBytes }) => sum + flashBytes, 0)).toBe(bytes[0]! + bytes[1]!);
      const misses = read.reduce((sum, { cacheMisses }) => sum + cacheMisses, 0);
      const hits = read.reduce((sum, { cacheHits }) => sum + cacheHits, 0);
      expect(hits).toBe(caches.inputs.counters.hits + caches.outputs.counters.hits);
      expect(misses + hits).toBe(caches.inputs.counters.named + caches.outputs.counters.named);
    }
  });

  it("all of it fits into what is planned, and nothing is read twice where everything has a slot", async () => {
    const plan = await planFor(NAME);
    for (const dramBudgetBytes of [...(await budgetsOf(NAME)), undefined]) {
      const model = await open(NAME, { pruning: { plan }, dramBudgetBytes });
      const { dram } = model.plan(TOKENS.length);
      await model.withSequence(TOKENS.length, async (sequence) => {
        expect(sequence.engine.arenaBytes).toBeLessThanOrEqual(dram.total + ARENA_OVERHEAD_BYTES);
        await stepwise(sequence, 1);
        sequence.rollback(0);
        const [again] = await sequence.extend(TOKENS.slice(0, 1));
        if (dramBudgetBytes === undefined) expect(again!.flashBytes).toBe(0);
      });
      if (dramBudgetBytes !== undefined) expect(dram.total).toBeLessThanOrEqual(dramBudgetBytes);
      await model.close();
    }
  });
});

describe("what fails", () => {
  const NAME = "llama-tiny";
  it.each([
    ["inputs", { input: 7 }],
    ["outputs", { neuron: 7 }],
  ] as const)("a damaged record of %s is named, and no slot claims it", async (stage, unit) => {
    const bytes = (await modelBytes(NAME, "f16", "columns")).slice();
    const dramBudgetBytes = (await budgetsOf(NAME))[1]!;
    for (const options of [{ mode: "dense" }, { pruning: { plan: await planFor(NAME, 0.99) } }] as const) {
      const model = await openModelBytes(bytes, NAME, { ...KV, ...options, dramBudgetBytes });
      const { columns, weights } = model.header;
      if (weights.layout !== "columns") throw new Error("columns");
      const at = columns[1]![stage].offset + 7 * weights[stage].strideBytes + 3;
      await model.withSequence(TOKENS.length, async (sequence) => {
        const good = await stepwise(sequence, 1);
        sequence.rollback(0);
        for (const cache of sequence.engine.caches) cache.clear();
        bytes[at]! ^= 1;
        await expect(stepwise(sequence, 1)).rejects.toMatchObject({
          code: "INTEGRITY_RECORD",
          details: { layer: 1, ...unit, offset: at - 3 },
        });
        bytes[at]! ^= 1;
        sequence.rollback(0);
        expect(await stepwise(sequence, 1)).toEqual(good);
      });
      await model.close();
    }
  });

  it("a read that is refused at any place leaves the logits as they were", async () => {
    const plan = await planFor(NAME);
    const [refused, dramBudgetBytes] = [new Error("refused"), (await budgetsOf(NAME))[1]!];
    for (const options of [{ mode: "dense" }, { pruning: { plan } }] satisfies ModelOptions[]) {
      const { parts } = await open(NAME);
      let [left, starts, inFlight] = [Number.POSITIVE_INFINITY, 0, false];
      const start = (memory: Uint8Array<ArrayBuffer>, runs: readonly FlashRun[], signal?: AbortSignal) => {
        if (inFlight) throw new Error("a batch is in flight");
        starts++;
        if (left-- === 0) throw refused;
        inFlight = true;
        parts.reader.start(memory, runs, signal);
      };
      const wait = () => {
        inFlight = false;
      };
      const reader = { ...parts.reader, start, wait } as typeof parts.reader;
      const model = new Model({ ...parts, reader }, { ...KV, ...options, dramBudgetBytes });
      await model.withSequence(TOKENS.length, async (sequence) => {
        const good = await stepwise(sequence, 3);
        const total = starts;
        for (let at = 0; at < Math.min(total, 40); at++) {
          sequence.rollback(0);
          for (const cache of sequence.engine.caches) cache.clear();
          left = at;
          await expect(stepwise(sequence, 3)).rejects.toBe(refused);
          left = Number.POSITIVE_INFINITY;
          sequence.rollback(0);
          expect(await stepwise(sequence, 3)).toEqual(good);
        }
      });
      await model.close();
    }
  });

  it("an abort ends a step, with its own reason", async () => {
    const model = await open(NAME, {
      pruning: { plan: await planFor(NAME) },
      dramBudgetBytes: (await budgetsOf(NAME))[0]!,
      slowReads: true,
    });
    const abort = new AbortController();
    await model.withSequence(TOKENS.length, async (sequence) => {
      const good = await stepwise(sequence, 1);
      sequence.rollback(0);
      const step = sequence.extend(TOKENS, { signal: abort.signal });
      abort.abort("enough");
      await expect(step).rejects.toBe("enough");
      sequence.rollback(0);
      expect(await stepwise(sequence, 1)).toEqual(good);
    });
    await model.close();
  });
});

describe("drafts", () => {
  const text = async (model: Model, options: Parameters<Model["generate"]>[1]) => {
    const tokens: number[] = [];
    for await (const { token } of model.generate(TOKENS.slice(0, 5), { maxTokens: 60, ignoreEos: true, ...options })) {
      if (token !== null) tokens.push(token);
    }
    await model.close();
    return tokens;
  };

  it.each(["llama-tiny", "phi-tiny"])(
    "of a pruned %s are verified into the dense text, greedy and by seeds",
    async (name) => {
      const plan = await planFor(name);
      const dramBudgetBytes = (await budgetsOf(name))[2]!;
      for (const sampling of [{ temperature: 0 }, { temperature: 0.8, seed: 3 }]) {
        const expected = await text(await open(name, { mode: "dense" }), sampling);
        for (const gamma of [1, 0.4]) {
          const model = await open(name, { pruning: { plan, gamma }, dramBudgetBytes });
          expect(await text(model, { ...sampling, lossless: true, draftTokens: 3 })).toEqual(expected);
        }
      }
    },
  );

  it("by lookup leave a pruned text as it is, and are refused where it depends on the cache", async () => {
    const name = "llama-tiny";
    const plan = await planFor(name);
    const dramBudgetBytes = (await budgetsOf(name))[2]!;
    const expected = await text(await open(name, { pruning: { plan } }), {});
    expect(await text(await open(name, { pruning: { plan }, dramBudgetBytes }), { speculate: "lookup" })).toEqual(
      expected,
    );
    const preferring = await open(name, { pruning: { plan, gamma: 0.4 }, dramBudgetBytes });
    await expect(text(preferring, { speculate: "lookup" })).rejects.toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining("gamma of 0.4"),
    });
  });
});

describe("what is refused", () => {
  const NAME = "llama-tiny";
  it.each<[string, FixtureOptions, string]>([
    ["a plan of whole neurons", { pruning: { plan: { ...dip(3), method: "cats" } } }, "UNSUPPORTED_FEATURE"],
    ["a γ of 0", { pruning: { plan: dip(3), gamma: 0 } }, "INPUT_INVALID"],
    ["a plan of other layers", { pruning: { plan: dip(2) } }, "INPUT_INVALID"],
    ["pruned mode without a plan", { mode: "pruned" }, "INPUT_INVALID"],
    ["another mode with a plan", { mode: "dense", pruning: { plan: dip(3) } }, "INPUT_INVALID"],
    ["a mode that names neurons", { mode: "oracle" }, "UNSUPPORTED_ACTIVATION"],
  ])("%s", async (_, options, code) => {
    await expect(open(NAME, options)).rejects.toMatchObject({ code });
  });

  it("a γ below 1 of a file without columns", async () => {
    const pruning = { plan: dip(3), gamma: 0.5 };
    await expect(openFixture(NAME, { pruning })).rejects.toMatchObject({
      message: expect.stringContaining("--layout columns"),
    });
  });
});
