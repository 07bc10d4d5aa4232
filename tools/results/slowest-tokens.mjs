/**
 * How much more a slow token reads than a usual one: experts that tokens of real routes miss in half of the slots, under the engine's default policy and
 * under the optimum, which knows the future. What the optimum cannot even out, no cache can; writes docs/results/slowest-tokens.csv:
 *
 *     pnpm build && node tools/results/slowest-tokens.mjs <traces>
 *
 * Traces are those of expert-policies.mjs. A quarter of each fills the cache and is not counted.
 */
import { lfuPolicy } from "@flashwick/dram-cache";
import { clairvoyantMisses, replayTrace } from "@flashwick/dram-cache/simulate";
import { percentile } from "@flashwick/runtime";
import { writeTable } from "./src/results-table.mjs";
import { namedTraces } from "./src/route-traces.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const WARM_UP_SHARE = 1 / 4;
const SHARES = [1 / 4, 1 / 2];

const named = namedTraces(scriptArguments({ usage: "slowest-tokens.mjs [<name>:]<trace> …", words: 1 }).words);

/** Experts missed by each token, over all layers. */
function lfuMisses(trace, slots) {
  const misses = new Array(trace.tokens.length).fill(0);
  const onWave = (_, token, wave) => {
    misses[token] += wave.misses.length;
  };
  replayTrace(trace, { slots, policy: () => lfuPolicy(), slotBytes: 1, onWave });
  return misses;
}

function leastMisses(trace, slots) {
  const misses = new Array(trace.tokens.length).fill(0);
  for (let layer = 0; layer < trace.nLayers; layer++) {
    for (const [token, experts] of clairvoyantMisses(trace, layer, slots).entries()) misses[token] += experts.length;
  }
  return misses;
}

function figures(misses) {
  const ascending = [...misses].sort((a, b) => a - b);
  const [p50, p99] = [0.5, 0.99].map((share) => percentile(ascending, share));
  return { mean: misses.reduce((sum, n) => sum + n, 0) / misses.length, p50, p99, ratio: p99 / p50 };
}

const rows = named.flatMap(({ name, trace }) =>
  SHARES.flatMap((share) => {
    const slots = Math.round(share * trace.dFf);
    const first = Math.floor(WARM_UP_SHARE * trace.tokens.length);
    return Object.entries({ lfu: lfuMisses, optimum: leastMisses }).map(([policy, missesOf]) => ({
      ...{ model: name, tokens: trace.tokens.length - first, slots_share: share, policy },
      ...figures(missesOf(trace, slots).slice(first)),
    }));
  }),
);

console.log(writeTable("slowest-tokens.csv", rows));
console.table(rows);
