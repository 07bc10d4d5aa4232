/**
 * A small set of multiple-choice tasks from the evaluation text, so that `flashwick eval --tasks` has something to run and real task files have
 * an example: after a passage, which eight words go on? Writes packages/demo-models/texts/tasks.jsonl:
 *
 *     pnpm build && node tools/results/sample-tasks.mjs
 *
 * The other endings go on after other passages of the same text, so that nothing but the context tells them apart.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Random } from "@flashwick/core";
import { demoModels } from "@flashwick/demo-models";

const TASKS = 200;
const ENDINGS = 4;
const CONTEXT_WORDS = 32;
const ENDING_WORDS = 8;

const random = new Random(20261123);
const below = (bound) => Math.floor(random.uniform() * bound);
const text = readFileSync(demoModels["opt-demo"].texts.evaluation, "utf8");
const passages = text.split(/\n\s*\n/).flatMap(passagesOf);
const tasks = passages
  .map((passage) => ({ passage, order: random.uniform() }))
  .sort((a, b) => a.order - b.order)
  .slice(0, TASKS)
  .map(({ passage }) => taskOf(passage));
const path = fileURLToPath(new URL("../../packages/demo-models/texts/tasks.jsonl", import.meta.url));
writeFileSync(path, `${tasks.map((task) => JSON.stringify(task)).join("\n")}\n`);
console.log(`${tasks.length} tasks of ${passages.length} passages`);

/** Passages of a paragraph, one behind the other, line ends kept, with the words that go on. */
function passagesOf(paragraph) {
  const words = paragraph.trim().match(/\s*\S+/g) ?? [];
  const passages = [];
  for (let at = 0; at + CONTEXT_WORDS + ENDING_WORDS <= words.length; at += CONTEXT_WORDS + ENDING_WORDS) {
    const cut = at + CONTEXT_WORDS;
    passages.push({
      context: words.slice(at, cut).join("").trimStart(),
      ending: words.slice(cut, cut + ENDING_WORDS).join(""),
    });
  }
  return passages;
}

function taskOf(passage) {
  const endings = [];
  while (endings.length < ENDINGS - 1) {
    const { ending } = passages[below(passages.length)];
    if (ending !== passage.ending && !endings.includes(ending)) endings.push(ending);
  }
  const label = below(ENDINGS);
  endings.splice(label, 0, passage.ending);
  return { context: passage.context, endings, label };
}
