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
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { decodeTrace, rankPolicies } from "@flashwick/dram-cache/simulate";
import { writeTable } from "./src/results-table.mjs";

const WARM_UP_SHARE = 1 / 4;
/** Slots of each layer, of its experts; a pool has as many in all. */
const SHARES = [1 / 8, 1 / 4, 1 / 2];

const named = process.argv.slice(2).map((argument) => {
  const [path, name] = argument.split(":").reverse();
  return { name: name ?? basename(path), trace: readTrace(path) };
});
if (named.length === 0) {
  console.error("usage: expert-policies.mjs [<name>:]<trace> …");
  process.exit(2);
}

function readTrace(path) {
  const bytes = readFileSync(path);
  return bytes.subarray(0, 13).toString() === "# route_trace" ? routesOf(bytes.toString()) : decodeTrace(bytes, path);
}

/** Lines `turn,phase,step,layer,slot,expert,…`; steps count on through a turn. */
function routesOf(text) {
  const [, layers, experts] = /n_layer=(\d+) n_expert=(\d+)/.exec(text).map(Number);
  const tokens = new Map();
  for (const line of text.split("\n")) {
    if (!/^\d/.test(line)) continue;
    const [turn, , step, layer, , expert] = line.split(",").map(Number);
    const key = `${turn} ${step}`;
    if (!tokens.has(key))
      tokens.set(
        key,
        Array.from({ length: layers }, () => []),
      );
    tokens.get(key)[layer].push(expert);
  }
  const sets = [...tokens.values()].map((of) => of.map((ids) => Uint32Array.from(ids).sort()));
  return { nLayers: layers, dFf: experts, tokens: sets };
}

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
