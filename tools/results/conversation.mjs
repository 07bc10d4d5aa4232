/**
 * Ten turns of a conversation in one sequence, and four sequences in one engine; writes docs/results/conversation.csv and sequences.csv:
 *
 *     pnpm build && node tools/results/conversation.mjs opt-6.7b-int8.gguf [--budget 50] [--turns 10] [--reply 16]
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openModel } from "@flashwick/runtime/node";
import { machineName } from "./src/machine-name.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { words, flags } = scriptArguments({
  usage: "conversation.mjs <model.gguf> [--budget <percent of the file>]",
  words: 1,
  flags: { budget: "50", turns: "10", reply: "16", sequences: "4", tokens: "24" },
});
const [path] = words;
const dramBudgetBytes = Math.floor((statSync(path).size * Number.parseFloat(flags.budget)) / 100);
const machine = machineName();
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const facts = { machine, node: process.version, commit };
const text = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8");

/** Ten messages of growing length: what is new decides how long the first token takes. */
async function converse() {
  const turns = Number(flags.turns);
  const lengths = Array.from({ length: turns }, (_, turn) => [8, 16, 32, 48][turn % 4]);
  const contextTokens = lengths.reduce((sum, length) => sum + length + Number(flags.reply) + 1, 0);
  const model = await openModel(path, { dramBudgetBytes, contextTokens, kvPrecision: "f16" });
  const words = model.tokenizer.encode(text, false);
  const sequence = await model.openSequence();
  const rows = [];
  let at = 0;
  for (const [turn, length] of lengths.entries()) {
    const message = words.slice(at, (at += length));
    const start = performance.now();
    let firstTokenMs = 0;
    const run = model.generate(message, { sequence, maxTokens: Number(flags.reply), ignoreEos: true });
    let step = await run.next();
    firstTokenMs = performance.now() - start;
    while (!step.done) step = await run.next();
    const { stats, promptTokens } = step.value;
    rows.push({
      turn: turn + 1,
      new_tokens: promptTokens,
      reused_tokens: stats.reusedTokens,
      loaded_bytes: turn === 0 ? sequence.engine.loadedBytes : stats.loadedBytes,
      prefill_ms: stats.prefillMs,
      prefill_flash_bytes: stats.prefillFlashBytes,
      first_token_ms: firstTokenMs,
      ms_per_token: stats.tokenMs.mean,
      ...facts,
    });
    console.error(rows.at(-1));
  }
  await model.close();
  return rows;
}

/** The same tokens, each sequence by itself and all together in every step. */
async function together() {
  const [count, tokens] = [Number(flags.sequences), Number(flags.tokens)];
  const model = await openModel(path, {
    ...{ dramBudgetBytes, maxSequences: count, contextTokens: 16 + tokens, kvPrecision: "f16" },
  });
  const words = model.tokenizer.encode(text, false);
  const texts = Array.from({ length: count }, (_, i) => words.slice(i * 200, i * 200 + 16 + tokens));
  const sequences = [];
  for (let i = 0; i < count; i++) sequences.push(await model.openSequence());
  const { engine } = sequences[0];
  const bits = new Map();
  const alone = { bytes: 0, ms: 0 };
  for (const [i, sequence] of sequences.entries()) {
    await sequence.prefill(texts[i].slice(0, 16));
    for (const token of texts[i].slice(16)) {
      const { stats, logits } = await sequence.decode(token);
      alone.bytes += stats.flashBytes;
      alone.ms += stats.ms;
      bits.set(`${i} ${sequence.length}`, Buffer.from(logits.slice().buffer));
    }
    sequence.rollback(0);
  }
  for (const [i, sequence] of sequences.entries()) await sequence.prefill(texts[i].slice(0, 16));
  const shared = { bytes: 0, ms: 0 };
  for (let at = 16; at < 16 + tokens; at++) {
    const rows = sequences.map((sequence, i) => ({ sequence, token: texts[i][at] }));
    const stats = await engine.step(rows, engine.chooser, {
      logits: "all",
      onLogits(row, logits) {
        const same = bits.get(`${row} ${at + 1}`).equals(Buffer.from(logits.slice().buffer));
        if (!same) throw new Error(`sequence ${row}, token ${at}: not the logits of the sequence alone`);
      },
    });
    shared.bytes += stats.flashBytes;
    shared.ms += stats.ms;
  }
  await model.close();
  const perToken = count * tokens;
  return [
    { run: `${count} sequences, one after another`, tokens: perToken, ...perTokenOf(alone, perToken), ...facts },
    { run: `${count} sequences, one step for all`, tokens: perToken, ...perTokenOf(shared, perToken), ...facts },
  ];
}

function perTokenOf({ bytes, ms }, tokens) {
  return { flash_bytes_per_token: bytes / tokens, ms_per_token: ms / tokens };
}

console.log(writeTable("conversation.csv", await converse()));
console.log(writeTable("sequences.csv", await together()));
