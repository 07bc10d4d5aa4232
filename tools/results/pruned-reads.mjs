/**
 * What pruned FFNs read from flash, and how fast they decode, for a file that is read by columns: dense, DIP, DIP-CA, and DIP as the drafts of a dense
 * text, in turns; writes docs/results/pruned-reads.csv, and prints a table for sparsity.md:
 *
 *     pnpm build && node apps/cli/dist/flashwick.js convert <checkpoint> -o columns.gguf --layout columns
 *     node tools/results/pruned-reads.mjs columns.gguf [--share 0.5] [--keep 0.75] [--gammas 0.5,0.2] [--tokens 48] [--rounds 3] [--threads 2]
 *
 * Each run opens the model anew within a budget that holds `--share` of its FFNs, and goes on from the same prompt. Reads are direct where the disk allows.
 * Lossless tokens are held against dense ones before anything is reported.
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { columnBytes, columnsOf } from "@flashwick/flash-format";
import { dipShares, uniformPlan } from "@flashwick/runtime/engine";
import { openModel } from "@flashwick/runtime/node";
import { inTurns, median } from "./src/in-turns.mjs";
import { machineName } from "./src/machine-name.mjs";
import { markdownTable, writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const { words, flags } = scriptArguments({
  usage: "pruned-reads.mjs <columns.gguf>",
  words: 1,
  flags: {
    ...{ share: "0.5", keep: "0.75", gammas: "0.5,0.2", tokens: "48", rounds: "3", threads: "2" },
    ...{ "prompt-characters": "300", out: "pruned-reads.csv" },
  },
});
const [file] = words;
const prompt = readFileSync(new URL("../../packages/demo-models/texts/evaluation.txt", import.meta.url), "utf8").slice(
  0,
  Number(flags["prompt-characters"]),
);
const maxTokens = Number(flags.tokens);
const options = { predictor: null, threads: Number(flags.threads), kvPrecision: "f16", contextTokens: 512 };

const whole = await openModel(file, { ...options, mode: "dense" });
const { geometry, weights, fileBytes } = whole.header;
if (!columnsOf(whole.header)) throw new Error(`${file}: expected a file of columns, found ${weights.layout}`);
const ffnBytes = columnBytes(geometry, weights);
const { smallestBudgetBytes, dram } = whole.plan(512);
await whole.close();
const dramBudgetBytes = await budgetThatHolds(Number(flags.share));

/** The least budget, to a thousandth, in which so large a part of the columns has slots. */
async function budgetThatHolds(share) {
  let [low, high] = [smallestBudgetBytes, dram.total];
  while (high - low > dram.total / 1000) {
    const middle = Math.floor((low + high) / 2);
    const model = await openModel(file, { ...options, mode: "dense", dramBudgetBytes: middle });
    const held = model.plan(512).slotsByLayer[0] / geometry.layers[0].ffn.dFf;
    await model.close();
    if (held < share) low = middle;
    else high = middle;
  }
  return high;
}

const keep = Number(flags.keep);
const shares = geometry.layers[0].ffn.gated ? dipShares(keep) : { inputs: keep, outputs: keep };
const plan = uniformPlan("dip", geometry.layers.length, shares);
// Without gaps, what is read is what the method asks for; with them, as the device is best served.
const exactly = { mergeGapBytes: 0 };
const modes = [
  { method: "dense", wish: { mode: "dense" } },
  { method: `dip ${keep}`, wish: { pruning: { plan }, ...exactly } },
  { method: `dip ${keep}, over gaps`, wish: { pruning: { plan } } },
  ...flags.gammas.split(",").map((gamma) => ({
    method: `dip-ca ${keep}, γ ${gamma}`,
    wish: { pruning: { plan, gamma: Number(gamma) }, ...exactly },
  })),
  { method: `dip ${keep}, lossless`, wish: { pruning: { plan }, ...exactly }, lossless: true },
];

async function run({ method, wish, lossless = false }) {
  const model = await openModel(file, { ...options, ...wish, dramBudgetBytes });
  try {
    const { slotsByLayer } = model.plan(512);
    const generated = model.generate(prompt, { maxTokens, ignoreEos: true, lossless });
    for (;;) {
      const next = await generated.next();
      if (!next.done) continue;
      const { tokens, stats } = next.value;
      console.error(`${method}: ${stats.tokensPerSec.toPrecision(3)} tokens/s`);
      return { tokens, stats, held: slotsByLayer[0] / geometry.layers[0].ffn.dFf };
    }
  } finally {
    await model.close();
  }
}

const results = await inTurns(
  modes.map((mode) => () => run(mode)),
  Number(flags.rounds),
);
const [dense] = results;
for (const { tokens } of results.at(-1)) {
  if (tokens.join() !== dense[0].tokens.join()) throw new Error(`lossless tokens ${tokens} are not the dense run's`);
}
const speedOf = (runs) => median(runs.map(({ stats }) => stats.tokensPerSec));
const rows = modes.map(({ method }, i) => {
  const [{ stats, held }] = results[i];
  const { cacheHits: hits, cacheMisses: misses, speculation } = stats;
  const speed = speedOf(results[i]);
  return {
    model: basename(file, ".gguf"),
    method,
    held_share: held,
    flash_bytes_per_token: stats.flashBytesPerToken,
    flash_share: stats.flashBytesPerToken / ffnBytes,
    reads_per_token: stats.readsPerToken,
    hit_share: hits / (hits + misses),
    tokens_per_s: speed,
    over_dense: speed / speedOf(dense),
    drafted: speculation?.drafted ?? null,
    accepted: speculation ? speculation.accepted / speculation.drafted : null,
    io: stats.ioMode,
    budget_bytes: dramBudgetBytes,
    file_bytes: fileBytes,
    tokens: maxTokens,
    threads: options.threads,
    node: process.version,
    machine: machineName(),
  };
});
writeTable(flags.out, rows);
const heads = {
  method: "method",
  held_share: "DRAM holds",
  flash_share: "from flash, of the FFNs",
  reads_per_token: "reads a token",
  hit_share: "hits",
  tokens_per_s: "tokens/s",
  over_dense: "over dense",
  drafted: "drafted",
  accepted: "accepted",
};
console.log(markdownTable(heads, rows));
