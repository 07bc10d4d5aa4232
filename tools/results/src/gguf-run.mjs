/**
 * One run of a GGUF file, in a process of its own, as people make them: what a process has allocated before decides which pages its stage lies in, and
 * so how fast reads land there (docs/results/landing-memory.md). Started by `runApart`; prints one JSON document.
 */
import { execFile } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { measureProfile, openModel } from "@flashwick/runtime/node";
import { busyMs, othersShare } from "./predicted-run.mjs";

const script = fileURLToPath(import.meta.url);
const text = readFileSync(join(script, "../../../../packages/demo-models/texts/evaluation.txt"), "utf8");

/** The first tokens of the text that all runs are given. */
export function givenTokens(model, count) {
  return model.tokenizer.encode(text, {}).slice(0, count);
}

/** A quick profile of the device under a file, measured by another process. */
export async function profileApart(path) {
  return await apart({ task: "profile", path });
}

/**
 * Decodes the given text in another process.
 *
 * @param percent Of the file, as a budget; "all": everything in memory.
 * @param profile What the run is planned by.
 * @returns { tokens: statistics of each token that counts, prefillMs, settings, slotsByLayer, others: what of the machine others had meanwhile }
 */
export async function runApart(path, percent, length, profile) {
  return await apart({ task: "run", path, percent, length, profile });
}

async function apart(request) {
  const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(request)], {
    maxBuffer: 2 ** 28,
  });
  return JSON.parse(stdout);
}

async function run({ path, percent, length, profile }) {
  const dramBudgetBytes = percent === "all" ? undefined : Math.floor((statSync(path).size * Number(percent)) / 100);
  const { promptTokens, warmUpTokens, decodeTokens } = length;
  const contextTokens = promptTokens + warmUpTokens + decodeTokens;
  const model = await openModel(path, { profile, dramBudgetBytes, contextTokens, mode: "dense" });
  try {
    const decoded = await decode(model, length, contextTokens);
    return { ...decoded, settings: model.settings, slotsByLayer: model.plan(contextTokens).slotsByLayer };
  } finally {
    await model.close();
  }
}

async function decode(model, { promptTokens, warmUpTokens, decodeTokens }, contextTokens) {
  const words = givenTokens(model, contextTokens);
  return await model.withSequence(contextTokens, async (sequence) => {
    const { batches } = await sequence.prefill(words.slice(0, promptTokens));
    const prefillMs = batches.reduce((sum, { ms }) => sum + ms, 0);
    const tokens = [];
    let [before, begin] = [null, 0];
    for (let i = 0; i < warmUpTokens + decodeTokens; i++) {
      if (i === warmUpTokens) [before, begin] = [busyMs(), performance.now()];
      const { stats } = await sequence.decode(words[promptTokens + i]);
      if (i >= warmUpTokens) tokens.push(stats);
    }
    return { tokens, prefillMs, others: othersShare(before, busyMs(), performance.now() - begin) };
  });
}

if (process.argv[1] === script) {
  const request = JSON.parse(process.argv[2]);
  const result =
    request.task === "profile" ? await measureProfile({ path: request.path, quick: true }) : await run(request);
  process.stdout.write(JSON.stringify(result));
}
