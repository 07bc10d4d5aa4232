/**
 * Which cache policy suits experts: routes of real mixtures through every policy, each layer by itself and all layers in a pool, beside the optimum;
 * writes docs/results/expert-policies.csv:
 *
 *     pnpm build && node tools/results/expert-policies.mjs <traces>
 *
 * A trace is what `flashwick trace record` writes of a mixture, or a file `route_trace v1` of BigMoeOnEdge (docs/bench-data of
 * github.com/Helldez/BigMoeOnEdge), whose name may follow a colon: `Qwen3-30B-A3B:route-trace-qwen3.csv`. A quarter of each trace fills the cache and is not
 * counted.
 */
import { rankPolicies } from "@flashwick/dram-cache/simulate";
import { writeTable } from "./src/results-table.mjs";
import { namedTraces } from "./src/route-traces.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const WARM_UP_SHARE = 1 / 4;
/** Slots of each layer, of its experts; a pool has as many in all. */
const SHARES = [1 / 8, 1 / 4, 1 / 2];

const named = namedTraces(scriptArguments({ usage: "expert-policies.mjs [<name>:]<trace> …", words: 1 }).words);

const rows = named.flatMap(({ name, trace }) =>
  SHARES.flatMap((share) =>
    [false, true].flatMap((pool) => {
      const slots = Math.round(share * trace.dFf) * (pool ? trace.nLayers : 1);
      const warmUpTokens = Math.floor(WARM_UP_SHARE * trace.tokens.length);
      const { ranks, optimum } = rankPolicies(trace, { slots, pool, warmUpTokens });
      const hits = Object.fromEntries(ranks.map(({ policy, hitShare }) => [policy.replace(/\W+/g, "_"), hitShare]));
      return {
        ...{ model: name, layers: trace.nLayers, experts: trace.dFf, tokens: trace.tokens.length - warmUpTokens },
        ...{ slots_share: share, scope: pool ? "pool" : "layer", ...sorted(hits), belady: optimum },
      };
    }),
  ),
);

function sorted(of) {
  return Object.fromEntries(Object.entries(of).sort(([a], [b]) => (a < b ? -1 : 1)));
}

console.log(writeTable("expert-policies.csv", rows));
console.table(rows.map(({ layers, experts, ...row }) => row));
