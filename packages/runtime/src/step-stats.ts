/** Arithmetic on what tokens cost. */
import type { PhaseMs, TokenStats } from "@flashwick/core";

/** What several steps cost together. */
export function sumStats(steps: readonly TokenStats[]): TokenStats {
  const total = (pick: (stats: TokenStats) => number) => steps.reduce((sum, stats) => sum + pick(stats), 0);
  return combine((pick) => total(pick));
}

/** An equal share of what a step cost that brought `tokens` tokens. */
export function shareStats(stats: TokenStats, tokens: number): TokenStats {
  return combine((pick) => pick(stats) / tokens);
}

function combine(value: (pick: (stats: TokenStats) => number) => number): TokenStats {
  const phase = (name: keyof PhaseMs) => value(({ phaseMs }) => phaseMs[name]);
  return {
    ms: value(({ ms }) => ms),
    phaseMs: {
      predict: phase("predict"),
      cache: phase("cache"),
      check: phase("check"),
      readWait: phase("readWait"),
      attention: phase("attention"),
      ffn: phase("ffn"),
      head: phase("head"),
      other: phase("other"),
    },
    flashBytes: value(({ flashBytes }) => flashBytes),
    flashReads: value(({ flashReads }) => flashReads),
    neuronsNamed: value(({ neuronsNamed }) => neuronsNamed),
    neuronsLoaded: value(({ neuronsLoaded }) => neuronsLoaded),
    cacheHits: value(({ cacheHits }) => cacheHits),
    cacheMisses: value(({ cacheMisses }) => cacheMisses),
    flashMs: value(({ flashMs }) => flashMs),
  };
}
