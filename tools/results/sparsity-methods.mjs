/**
 * What each way of leaving out parts of an FFN costs in quality, and what it reads: dense, a predictor where there is one, gate first where gates are
 * resident, CATS, TEAL, DIP, DIP-CA and the oracle, each at several operating points, for any model of flashwick or llama.cpp that fits into DRAM; writes
 * docs/results/sparsity-<model>.csv and sparsity-<model>.svg, and prints a table for sparsity.md:
 *
 *     pnpm build && node tools/results/sparsity-methods.mjs <model.gguf> … [--predictor <file>] [--windows 12] [--cache 0.5,0.7]
 *         [--calibration <text>] [--evaluation <text>] [--device ufs-4.0] [--kl 0.03] [--threads 1]
 *         [--only oracle,dip] [--name <of the table>]
 *
 * Thresholds and shares are set on the calibration text; every row is measured on the evaluation text, in windows of 256 tokens. The predictor
 * is that of the one model that is named; --kl adds a plan with shares by layer, calibrated to it, and takes about as long as all the rest.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { devicePreset } from "@flashwick/cost-model";
import { openModel } from "@flashwick/runtime/node";
import { pruningRows } from "./src/pruning-rows.mjs";
import { markdownTable, writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";
import { gateFirstRows, predictorRows } from "./src/sparse-rows.mjs";
import { GATES, readAtKl } from "./src/sparsity-gates.mjs";
import { sparsityPicture } from "./src/sparsity-picture.mjs";

const texts = new URL("../../packages/demo-models/texts/", import.meta.url);
const { words: files, flags } = scriptArguments({
  usage: "sparsity-methods.mjs <model.gguf> … [--predictor <file>, of one model]",
  words: 1,
  flags: {
    ...{ predictor: null, windows: "12", cache: "0.5,0.7", kl: null, threads: null, device: "ufs-4.0" },
    ...{ only: null, name: null },
    calibration: fileURLToPath(new URL("calibration.txt", texts)),
    evaluation: fileURLToPath(new URL("evaluation.txt", texts)),
  },
});
const settings = {
  windows: Number(flags.windows),
  cacheShares: flags.cache.split(",").map(Number),
  targetKl: flags.kl ? Number(flags.kl) : null,
  only: flags.only ? flags.only.split(",") : null,
  device: devicePreset(flags.device),
  calibration: readFileSync(flags.calibration, "utf8"),
  evaluation: readFileSync(flags.evaluation, "utf8"),
};

const threads = flags.threads && { threads: Number(flags.threads) };

for (const file of files) {
  const model = await openModel(file, { predictor: null, mode: "dense", contextTokens: 256, ...threads });
  const name = flags.name ?? basename(file, ".gguf");
  const rows = await pruningRows(model, settings);
  rows.push(...(await gateFirstRows(model, settings)));
  if (flags.predictor) rows.push(...(await predictorRows(model, flags.predictor, settings)));
  await model.close();
  report(name, rows);
}

function report(name, rows) {
  writeTable(`sparsity-${name}.csv`, rows);
  const picture = new URL(`../../docs/results/sparsity-${name}.svg`, import.meta.url);
  writeFileSync(picture, sparsityPicture(name, rows));
  const heads = {
    method: "method",
    setting: "setting",
    cache_share: "cache",
    read_share: "FFN read",
    flash_share: "from flash",
    hit_share: "hits",
    perplexity_rise: "perplexity",
    kl: "KL",
    top1: "top-1",
    nll_rise: "ΔNLL",
    passes: "gates",
    expected_ms: "ms",
    lossless_flash_share: "lossless",
  };
  console.log(`${name}\n\n${markdownTable(heads, rows)}\n`);
  const atKl = {
    curve: `at a KL of ${GATES.kl}`,
    cache_share: "cache",
    read_share: "FFN read",
    flash_share: "from flash",
  };
  console.log(markdownTable(atKl, readAtKl(rows, GATES.kl)));
}
