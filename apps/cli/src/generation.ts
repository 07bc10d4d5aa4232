/** Runs a generation to its end, or to Ctrl-C, and gathers what it gave. */
import { eventLoopTurn, type RunStats, type TokenStats } from "@flashwick/core";
import {
  type FinishReason,
  type GeneratedToken,
  type GenerateOptions,
  type Model,
  summarizeRun,
} from "@flashwick/runtime";

/** The document of `flashwick run --json`. */
export interface Generation {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  readonly finishReason: FinishReason;
  readonly stats: RunStats;
}

/**
 * Generates, handing out each token as it comes. After an abort that let at least one token through, what is there is returned with
 * the finish reason `aborted`; before, the signal's reason is thrown.
 *
 * Gives the event loop a turn after each token, since a synchronous reader never does and Ctrl-C could not be seen.
 */
export async function runGeneration(
  model: Model,
  prompt: readonly number[],
  options: GenerateOptions & { readonly signal: AbortSignal },
  clock: () => number,
  onToken: (token: GeneratedToken) => void,
): Promise<Generation> {
  const startMs = clock();
  let firstTokenMs = 0;
  let text = "";
  const tokens: number[] = [];
  const decoded: TokenStats[] = [];
  const run = model.generate(prompt, options);
  try {
    for (;;) {
      const step = await run.next();
      if (step.done) {
        const { promptTokens, finishReason, stats } = step.value;
        return { text, tokens: step.value.tokens, promptTokens, finishReason, stats };
      }
      firstTokenMs ||= clock() - startMs;
      text += step.value.text;
      if (step.value.token !== null) tokens.push(step.value.token);
      if (step.value.stats) decoded.push(step.value.stats);
      onToken(step.value);
      await eventLoopTurn();
    }
  } catch (error) {
    if (!options.signal.aborted || error !== options.signal.reason || tokens.length === 0) throw error;
    const stats = abortedStats(model, prompt.length + (options.maxTokens ?? 0), decoded, firstTokenMs);
    return { text, tokens, promptTokens: prompt.length, finishReason: "aborted", stats };
  }
}

/** The library gives no summary after an abort. What prefill read is not known here; its time is until the first token. */
function abortedStats(model: Model, tokens: number, decode: readonly TokenStats[], prefillMs: number): RunStats {
  const { geometry, weights } = model.header;
  const plan = model.plan(Math.min(geometry.contextLength, tokens));
  const stats = summarizeRun({
    geometry,
    weights,
    backend: model.parts.backend,
    activationBits: model.parts.activationBits,
    ioMode: model.parts.reader.mode,
    mode: model.mode,
    kvDType: plan.kvPrecision,
    policy: model.config.policy.policy,
    ...model.threading,
    dramBytes: plan.dram,
    prefill: [],
    decode,
  });
  return { ...stats, prefillMs, timeToFirstTokenMs: prefillMs };
}
