/**
 * Multiple-choice tasks: which of several endings the model finds likeliest after a context, scored as ARC and HellaSwag are
 * (EleutherAI's lm-evaluation-harness): `acc` by the sum of the ending's log-probabilities, `acc_norm` by that sum over the ending's bytes.
 */
import { InputError, type OnProgress, showValue } from "@flashwick/core";
import type { Model } from "./model.js";
import { logSumExp } from "./sampler.js";

/** A context, its possible endings, and which one is right. */
export interface ChoiceTask {
  readonly context: string;
  /** Continuations of `context` as they stand, leading space included. */
  readonly endings: readonly string[];
  /** Index of the right one. */
  readonly label: number;
}

/** Accuracy over multiple-choice tasks. */
export interface TasksResult {
  readonly tasks: number;
  /** Share of tasks whose right ending has the largest log-probability. */
  readonly accuracy: number;
  /** … the largest log-probability per UTF-8 byte. */
  readonly accuracyNorm: number;
  /** Of guessing. */
  readonly chance: number;
  /** Standard error of `accuracyNorm`. */
  readonly standardError: number;
  /** By task: the ending chosen by length-normalised log-probability. */
  readonly choices: readonly number[];
}

/** Lines, and endings of one task, that are read at most: a file of a million questions is no task file. */
const MOST_TASKS = 1_000_000;
const MOST_ENDINGS = 64;

/**
 * Reads tasks from JSON lines: `{ "context": string, "endings": [string, …], "label": number }`. Empty lines are skipped, other fields ignored.
 *
 * @throws {InputError} naming the file and the lines that are wrong, the first ten of them.
 */
export function parseTasks(text: string, name: string): ChoiceTask[] {
  const tasks: ChoiceTask[] = [];
  const faults: string[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const found = readTask(line);
    if (typeof found === "string") faults.push(`line ${index + 1}: ${found}`);
    else tasks.push(found);
  }
  if (faults.length === 0 && tasks.length > 0 && tasks.length <= MOST_TASKS) return tasks;
  if (faults.length === 0) {
    throw new InputError("INPUT_INVALID", `${name}: ${tasks.length} tasks, expected 1 to ${MOST_TASKS}`);
  }
  const more = faults.length > 10 ? `; and ${faults.length - 10} lines more` : "";
  throw new InputError(
    "INPUT_INVALID",
    `${name}: ${faults.slice(0, 10).join("; ")}${more}. Expected lines of {"context": text, "endings": [text, …], "label": index}`,
    { details: { file: name, badLines: faults.length } },
  );
}

/** The task of one line, or what is wrong with it. */
function readTask(line: string): ChoiceTask | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    return `no JSON (${(cause as Error).message})`;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "no object";
  const { context, endings, label } = value as Record<string, unknown>;
  if (typeof context !== "string") return `context is ${typeof context}, expected a text`;
  const texts = Array.isArray(endings) && endings.every((ending) => typeof ending === "string" && ending.length > 0);
  if (!texts || endings.length < 2 || endings.length > MOST_ENDINGS) {
    return `endings, expected 2 to ${MOST_ENDINGS} texts that are not empty`;
  }
  if (!Number.isInteger(label) || (label as number) < 0 || (label as number) >= endings.length) {
    return `label is ${showValue(label)}, expected an index from 0 to ${endings.length - 1}`;
  }
  return { context, endings: endings as string[], label: label as number };
}

/**
 * Scores tasks in the model's mode: with a predictor every position is treated as decoding treats it.
 *
 * A context that is too long loses its beginning.
 *
 * @throws {InputError} for an ending longer than the model's context.
 * Cost: a dense pass over context and ending, for every ending.
 */
export async function evaluateTasks(
  model: Model,
  tasks: readonly ChoiceTask[],
  options: { readonly onProgress?: OnProgress | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<TasksResult> {
  const bytes = new TextEncoder();
  const choices: number[] = [];
  let [right, rightNorm, chance] = [0, 0, 0];
  for (const [index, task] of tasks.entries()) {
    const sums: number[] = [];
    for (const ending of task.endings)
      sums.push(await endingLogprob(model, task.context, ending, index, options.signal));
    const norms = sums.map((sum, i) => sum / bytes.encode(task.endings[i]!).byteLength);
    if (largest(sums) === task.label) right++;
    const choice = largest(norms);
    if (choice === task.label) rightNorm++;
    choices.push(choice);
    chance += 1 / task.endings.length;
    options.onProgress?.({ phase: "tasks", loaded: index + 1, total: tasks.length, unit: "tasks" });
  }
  const n = tasks.length;
  const accuracyNorm = rightNorm / n;
  const standardError = Math.sqrt((accuracyNorm * (1 - accuracyNorm)) / Math.max(1, n - 1));
  return { tasks: n, accuracy: right / n, accuracyNorm, chance: chance / n, standardError, choices };
}

/** Σ log p of the ending's tokens after the context. */
async function endingLogprob(
  model: Model,
  context: string,
  ending: string,
  index: number,
  signal?: AbortSignal,
): Promise<number> {
  const { bosTokenId, contextLength } = model.header.geometry;
  const start = bosTokenId === null ? [] : [bosTokenId];
  // Tokens do not add up across the seam: the ending is what the whole has beyond the context.
  const before = model.tokenizer.encode(context, false);
  const whole = model.tokenizer.encode(context + ending, false);
  const count = Math.max(1, whole.length - before.length);
  if (count + 1 > contextLength) {
    throw new InputError(
      "INPUT_CONTEXT_LENGTH",
      `task ${index + 1}: an ending of ${count} tokens, but the model's context is ${contextLength}; leave the task out`,
      { details: { task: index + 1, tokens: count, contextLength } },
    );
  }
  const tokens = [...start, ...whole.slice(-(contextLength - start.length))];
  const first = Math.max(1, tokens.length - count);
  let sum = 0;
  await model.withSequence(
    tokens.length,
    async (sequence) => {
      const chooser = sequence.engine.batchChooser;
      const onLogits = (position: number, logits: Float32Array) => {
        const next = position + 1;
        if (next >= first && next < tokens.length) sum += logits[tokens[next]!]! - logSumExp(logits);
      };
      await sequence.extend(tokens.slice(0, first - 1), { chooser, signal });
      await sequence.extend(tokens.slice(first - 1), { chooser, logits: "all", onLogits, signal });
    },
    { signal },
  );
  return sum;
}

function largest(values: readonly number[]): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}
