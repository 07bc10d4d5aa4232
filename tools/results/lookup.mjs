/**
 * Prompt lookup on text that copies from its prompt, and `auto` on text that does not; writes docs/results/lookup.csv:
 *
 *     pnpm build && node tools/results/lookup.mjs opt-6.7b-int8.gguf [--budget 50%] [--rounds 3] [--tokens 64]
 *
 * The text is given: what a small model says of itself soon goes in circles, which would flatter drafts. The sampler answers with the text's next
 * token whatever the logits are, so a draft is accepted where the text copies, and all costs are real.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openModel } from "@flashwick/runtime/node";
import { decodeGiven } from "./src/given-text.mjs";
import { inTurns, median, ratios } from "./src/in-turns.mjs";
import { machineName } from "./src/machine-name.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const {
  words: [path],
  flags,
} = scriptArguments({
  usage: "lookup.mjs <model.gguf> [--budget <percent of the file>]",
  words: 1,
  flags: { budget: "50", rounds: "3", tokens: "64" },
});
const share = Number.parseFloat(flags.budget) / 100;
const tokens = Number(flags.tokens);
const model = await openModel(path, { dramBudgetBytes: Math.floor(statSync(path).size * share), kvPrecision: "f16" });
const text = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8");
const words = model.tokenizer.encode(text, false).slice(0, 4 * tokens);
const passage = words.slice(0, tokens + 8);
/** The prompt, and what follows it. */
const texts = {
  copies: { prompt: [...passage, ...passage.slice(0, 8)], next: passage.slice(8) },
  "does not copy": { prompt: words.slice(0, tokens), next: words.slice(tokens) },
};

/** Milliseconds a token, and what was drafted. */
async function decode({ prompt, next }, drafting) {
  const context = prompt.length + tokens + 1;
  return await model.withSequence(context, async (sequence) => {
    await sequence.prefill(prompt);
    const steps = await decodeGiven(sequence, next, tokens, drafting);
    const sum = (pick) => steps.reduce((all, step) => all + pick(step), 0);
    const decoded = sum((step) => step.tokens);
    return {
      ms: sum(({ ms }) => ms) / decoded,
      drafted: sum(({ drafted }) => drafted),
      accepted: decoded - steps.length,
      steps: steps.length,
    };
  });
}

const machine = machineName();
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const rows = [];
for (const [name, of] of Object.entries(texts)) {
  const kinds = ["off", "lookup", "auto"];
  const results = await inTurns(
    kinds.map((kind) => () => decode(of, kind)),
    Number(flags.rounds),
  );
  for (const [i, kind] of kinds.entries()) {
    const ms = (runs) => runs.map((run) => run.ms);
    const over = ratios(ms(results[0]), ms(results[i]));
    const last = results[i].at(-1);
    rows.push({
      text: name,
      speculate: kind,
      ms_per_token: median(ms(results[i])),
      times_as_fast: over.median,
      least: over.least,
      most: over.most,
      drafted: last.drafted,
      accepted: last.accepted,
      steps: last.steps,
      tokens,
      machine,
      node: process.version,
      commit,
    });
  }
}
await model.close();
console.log(writeTable("lookup.csv", rows));
