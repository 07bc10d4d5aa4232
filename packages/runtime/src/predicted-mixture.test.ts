/** The cost model's word on a mixture of experts, held against the engine: bytes and reads, which no clock disturbs. */
import { Random, rowBytes } from "@flashwick/core";
import { type ExpertLocality, localityOfTrace, type MemoryPlan } from "@flashwick/cost-model";
import { decodeTrace } from "@flashwick/dram-cache/simulate";
import { expertBytes } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import { ggufBytes, openModelBytes } from "./checkpoint.fixture.js";
import type { Model } from "./model.js";
import { predictRun } from "./predicted-run.js";
import { profile } from "./profile.fixture.js";
import { recordTrace } from "./record-trace.js";

const LENGTH = { promptTokens: 16, warmUpTokens: 16, decodeTokens: 96 };
const FIRST = LENGTH.promptTokens + LENGTH.warmUpTokens;
const TOKENS = FIRST + LENGTH.decodeTokens;

function randomTokens(vocabSize: number): number[] {
  const random = new Random(7);
  return Array.from({ length: TOKENS }, () => random.below(vocabSize));
}

/** Flash bytes and reads of a decoded token, on average. */
async function decode(model: Model, tokens: readonly number[]): Promise<{ bytes: number; reads: number }> {
  return await model.withSequence(TOKENS, async (sequence) => {
    await sequence.prefill(tokens.slice(0, LENGTH.promptTokens));
    let [bytes, reads] = [0, 0];
    for (const [i, token] of tokens.slice(LENGTH.promptTokens).entries()) {
      const { stats } = await sequence.decode(token);
      if (i < LENGTH.warmUpTokens) continue;
      bytes += stats.flashBytes / LENGTH.decodeTokens;
      reads += stats.flashReads / LENGTH.decodeTokens;
    }
    return { bytes, reads };
  });
}

async function localityOf(model: Model, tokens: readonly number[]): Promise<ExpertLocality> {
  const { bytes } = await recordTrace(model, [tokens]);
  const counts = model.header.experts.map((of) => of?.count ?? 0);
  return localityOfTrace("the tokens themselves", decodeTrace(bytes).tokens, counts, FIRST);
}

/** Of a token's embedding, where that is read from the file: the cost model leaves it out. */
function rowReads({ header }: Model, { rowTablesResident }: MemoryPlan): { bytes: number; reads: number } {
  const table = header.tensors.get("token_embd.weight")!;
  return rowTablesResident ? { bytes: 0, reads: 0 } : { bytes: rowBytes(table.dtype, table.cols), reads: 1 };
}

describe.each(["mixtral", "olmoe", "qwen3moe"])("a run of %s.gguf", (name) => {
  it.each([0, 0.15, 0.3])(
    "has the bytes and reads that a trace of its tokens predicts, with slots for one token's experts and %d of all",
    async (share) => {
      const options = { contextTokens: TOKENS, kvPrecision: "f32", policy: "lru" } as const;
      const whole = await openModelBytes(ggufBytes(name), name, options);
      const tokens = randomTokens(whole.header.geometry.vocabSize);
      const locality = await localityOf(whole, tokens);
      const { cycleBudgetBytes } = whole.plan(TOKENS);
      await whole.close();
      const dramBudgetBytes = Math.ceil(cycleBudgetBytes! + share * expertBytes(whole.header));
      const model = await openModelBytes(ggufBytes(name), name, { ...options, dramBudgetBytes });
      const plan = model.plan(TOKENS);
      const { bytes, reads } = await decode(model, tokens);
      const row = rowReads(model, plan);
      const predicted = predictRun({
        header: model.header,
        profile,
        predictor: null,
        locality,
        plan,
        settings: {
          ...{ mode: "dense", windowTokens: Number.POSITIVE_INFINITY, threads: 1 },
          ...{ readers: 8, mergeGapBytes: 0, overlap: true },
        },
        length: LENGTH,
      })!;
      await model.close();
      expect(plan.slotsByLayer.some((slots, layer) => slots < model.header.experts[layer]!.count)).toBe(true);
      expect(predicted.flashBytesPerToken).toBeCloseTo(bytes - row.bytes, 3);
      expect(predicted.readsPerToken).toBeCloseTo(reads - row.reads, 6);
    },
  );
});
