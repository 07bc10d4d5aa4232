/**
 * This checkout beside another one, in turns: whether a change has made a token slower.
 *
 *     pnpm build && node tools/results/versions.mjs <other checkout, built> <model.gguf> [--rounds 5] [--tokens 48] [-- flags of run…]
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { inTurns, median, ratios } from "./src/in-turns.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { words, flags, more } = scriptArguments({
  usage: "versions.mjs <other checkout> <model.gguf> [--rounds N] [--tokens N] [-- flags of run]",
  words: 2,
  flags: { rounds: "5", tokens: "48" },
});
const [other, model] = words;
const prompt = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8").slice(0, 300);

function run(checkout) {
  const program = join(resolve(checkout), "apps/cli/dist/flashwick.js");
  const args = ["run", model, "--prompt", prompt, "--max-tokens", flags.tokens, "--json", "--quiet", ...more];
  const result = JSON.parse(
    execFileSync(process.execPath, [program, ...args], { maxBuffer: 1 << 28 }).toString("utf8"),
  );
  console.error(checkout, result.stats.tokenMs.mean, result.stats.tokenMs.p50);
  return result;
}

const [before, after] = await inTurns([() => run(other), () => run(root)], Number(flags.rounds));
for (const [i, { tokens }] of after.entries()) {
  if (`${tokens}` !== `${before[i].tokens}`) throw new Error(`other tokens: ${tokens} instead of ${before[i].tokens}`);
}
for (const figure of ["mean", "p50"]) {
  const ms = (runs) => runs.map(({ stats }) => stats.tokenMs[figure]);
  const over = ratios(ms(after), ms(before));
  const of = [median(ms(before)), median(ms(after)), over.median, over.least, over.most].map((value) =>
    value.toPrecision(4),
  );
  console.log(`${figure}: ${of[0]} ms before, ${of[1]} after: ${of[2]} times (${of[3]} to ${of[4]})`);
}
