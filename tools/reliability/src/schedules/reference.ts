/** What schedules are compared with: each model alone, resident, on one thread, token by token. */
import { memoryReader } from "@flashwick/flash-io";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { type GenerateOptions, Model, type Sequence } from "@flashwick/runtime";
import { openScheduledModel } from "./schedule-models.js";
import { CONTEXT_TOKENS, referenceName, type SchedulePlan } from "./schedule-plan.js";

/** A token of a sequence, and whether it was computed as prompts are or as the mode says. */
export interface HistoryEntry {
  readonly token: number;
  readonly how: "prompt" | "mode";
}

/** A text: its tokens, and what `topLogprobs` said of each. */
export interface ReferenceText {
  readonly tokens: readonly number[];
  readonly logprobs: string;
}

/** The likeliest tokens whose probabilities are compared, bit for bit, where logits themselves are not seen. */
export const TOP_LOGPROBS = 6;

/** Logits and texts of one model in one mode, computed when they are first asked for. */
export class Reference {
  /** In the precision of keys and values, in the mode: `dense` also stands for the oracle, and for a threshold that names every neuron. */
  readonly model: Model;
  readonly #sequence: Sequence;
  readonly #isDense: boolean;
  readonly #held: HistoryEntry[] = [];
  readonly #logits = new Map<string, Float32Array>();
  readonly #texts = new Map<string, ReferenceText>();

  private constructor(model: Model, sequence: Sequence, isDense: boolean) {
    this.model = model;
    this.#sequence = sequence;
    this.#isDense = isDense;
  }

  static async open(plan: SchedulePlan): Promise<Reference> {
    const { bytes, file, predictor } = await openScheduledModel(plan.model);
    const isDense = referenceName(plan).includes(", dense, ");
    const parts = {
      ...{ file, predictor, kernels: createWasmKernels, backend: "wasm", clock: () => 0 },
      reader: memoryReader(bytes, plan.model.name),
    };
    const model = new Model(parts, {
      ...{ mode: isDense ? "dense" : "predicted", kvPrecision: plan.kvPrecision },
      ...{ maxSequences: 2, contextTokens: CONTEXT_TOKENS, overlap: false, lookahead: false },
    });
    return new Reference(model, await model.openSequence(), isDense);
  }

  /** The logits after the last token. */
  async logitsAfter(history: readonly HistoryEntry[]): Promise<Float32Array> {
    const entries = this.#isDense ? history.map(({ token }) => ({ token, how: "prompt" as const })) : history;
    const key = entries.map(({ token, how }) => `${token}${how[0]}`).join(" ");
    const known = this.#logits.get(key);
    if (known) return known;
    let kept = 0;
    // The last token is computed in any case: its logits are wanted.
    while (kept < Math.min(this.#held.length, entries.length - 1) && isSame(this.#held[kept]!, entries[kept]!)) kept++;
    this.#sequence.rollback(kept);
    this.#held.length = kept;
    let logits = new Float32Array(0);
    for (const entry of entries.slice(kept)) {
      const chooser = entry.how === "prompt" ? this.#sequence.engine.promptChooser : this.#sequence.engine.chooser;
      const onLogits = (_: number, values: Float32Array) => {
        logits = values.slice();
      };
      await this.#sequence.extend([entry.token], { chooser, logits: "last", onLogits });
      this.#held.push(entry);
    }
    this.#logits.set(key, logits);
    return logits;
  }

  /** What the model generates without drafts. */
  async textAfter(prompt: readonly number[], options: GenerateOptions): Promise<ReferenceText> {
    const key = JSON.stringify([prompt, options]);
    const known = this.#texts.get(key);
    if (known) return known;
    const text = await readText(this.model.generate(prompt, { ...options, topLogprobs: TOP_LOGPROBS }));
    this.#texts.set(key, text);
    return text;
  }
}

/** A text as it comes, to its end. */
export async function readText(
  tokens: AsyncIterable<{ readonly token: number | null; readonly logprob: unknown }>,
): Promise<ReferenceText> {
  const text: number[] = [];
  const logprobs: string[] = [];
  for await (const { token, logprob } of tokens) {
    if (token === null) continue;
    text.push(token);
    logprobs.push(JSON.stringify(logprob));
  }
  return { tokens: text, logprobs: logprobs.join("\n") };
}

const references = new Map<string, Promise<Reference>>();

/** The reference of a schedule; opened once. */
export function referenceOf(plan: SchedulePlan): Promise<Reference> {
  const name = referenceName(plan);
  const known = references.get(name) ?? Reference.open(plan);
  references.set(name, known);
  return known;
}

function isSame(a: HistoryEntry, b: HistoryEntry): boolean {
  return a.token === b.token && a.how === b.how;
}
