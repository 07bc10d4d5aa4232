/**
 * What naming resident neurons more freely gains and costs: decodes the evaluation text, token after token, within a budget, at several margins,
 * and compares each position's logits with the dense model's; prints a table and writes docs/results/resident-margin.csv:
 *
 *     pnpm build && node tools/results/resident-margin.mjs <folder with opt-demo.gguf and falcon-demo.gguf>
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { demoModels } from "@flashwick/demo-models";
import { openModel } from "@flashwick/runtime/node";
import { writeTable } from "./src/results-table.mjs";

const [folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: resident-margin.mjs <folder>");
  process.exit(2);
}
const BUDGET = 0.6;
const MARGINS = [0, 0.5, 1, 2];
const WINDOWS = 6;
const WINDOW_TOKENS = 256;
/** Of each window, tokens that fill the cache. */
const WARM_UP = 32;

const rows = [];
for (const [name, { predictorPath, texts }] of Object.entries(demoModels)) {
  const file = join(folder, `${name}.gguf`);
  const dense = await openModel(file, { mode: "dense", predictor: null });
  const tokens = dense.tokenizer.encode(readFileSync(texts.evaluation, "utf8"), false);
  const windows = Array.from({ length: WINDOWS }, (_, w) => tokens.slice(w * WINDOW_TOKENS, (w + 1) * WINDOW_TOKENS));
  const references = [];
  for (const window of windows) references.push(await decode(dense, window));
  await dense.close();
  for (const residentMargin of MARGINS) {
    const dramBudgetBytes = Math.floor(BUDGET * statSync(file).size);
    const model = await openModel(file, { predictor: predictorPath, dramBudgetBytes, residentMargin });
    const sums = { positions: 0, kl: 0, agree: 0, bytes: 0, named: 0 };
    for (const [w, window] of windows.entries()) {
      const decoded = await decode(model, window);
      for (let t = WARM_UP; t < window.length; t++) compare(references[w][t], decoded[t], sums);
    }
    await model.close();
    const { positions, kl, agree, bytes, named } = sums;
    rows.push({
      model: name,
      budget: BUDGET,
      resident_margin: residentMargin,
      mean_kl: kl / positions,
      top1_agreement: agree / positions,
      flash_bytes_per_token: bytes / positions,
      named_per_token: named / positions,
    });
  }
}
console.table(rows);
writeTable("resident-margin.csv", rows);

async function decode(model, window) {
  const out = [];
  await model.withSequence(window.length, async (sequence) => {
    for (const token of window) {
      const { logits, stats } = await sequence.decode(token);
      out.push({ logits: logits.slice(), bytes: stats.flashBytes, named: stats.cacheHits + stats.cacheMisses });
    }
  });
  return out;
}

function compare(reference, { logits, bytes, named }, sums) {
  const [p, q] = [reference.logits, logits];
  const [zp, zq] = [logSumExp(p), logSumExp(q)];
  let kl = 0;
  for (let i = 0; i < p.length; i++) kl += Math.exp(p[i] - zp) * (p[i] - zp - (q[i] - zq));
  sums.positions++;
  sums.kl += kl;
  sums.agree += argmax(p) === argmax(q) ? 1 : 0;
  sums.bytes += bytes;
  sums.named += named;
}

function logSumExp(values) {
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}
