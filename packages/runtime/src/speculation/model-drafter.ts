/** A small model of the same vocabulary, resident in DRAM, that drafts for a large one. */
import { InputError } from "@flashwick/core";
import type { ModelHeader } from "@flashwick/flash-format";
import type { Model } from "../model.js";
import type { Sequence } from "../sequence.js";
import type { Draft, DraftContext, Drafter } from "./drafter.js";

/** Proposes what a smaller model of the same vocabulary says. */
export class ModelDrafter implements Drafter {
  readonly name = "draft";
  readonly #model: Model;
  #sequence: Sequence | null = null;

  /**
   * @param model Closed with the drafter.
   * @throws {InputError} `INPUT_INVALID` if its vocabulary is not that of `target`.
   */
  constructor(model: Model, target: Model) {
    checkVocabulary(model, target);
    this.#model = model;
  }

  async propose({ sequence, pending, sampler, index, signal }: DraftContext, most: number): Promise<Draft> {
    const text = [...sequence.tokens, pending];
    const { contextLength } = this.#model.header.geometry;
    const count = Math.min(most, contextLength - text.length);
    if (count <= 0) return { tokens: [], costs: [] };
    const own = await this.#ownSequence(sequence.engine.contextTokens, signal);
    own.rollback(Math.min(own.sharedLength(text), text.length - 1));
    const tokens: number[] = [];
    const onLogits = (_: number, logits: Float32Array) => void tokens.push(sampler(logits, index + tokens.length));
    const costs = await own.extend(text.slice(own.length), { logits: "last", onLogits, signal });
    while (tokens.length < count) {
      costs.push(...(await own.extend([tokens.at(-1)!], { logits: "last", onLogits, signal })));
    }
    return { tokens, costs };
  }

  async close(): Promise<void> {
    this.#sequence?.release();
    this.#sequence = null;
    await this.#model.close();
  }

  async #ownSequence(contextTokens: number, signal?: AbortSignal): Promise<Sequence> {
    if (this.#sequence && this.#sequence.engine.contextTokens >= contextTokens) return this.#sequence;
    this.#sequence?.release();
    const { contextLength } = this.#model.header.geometry;
    this.#sequence = await this.#model.openSequence({ contextTokens: Math.min(contextTokens, contextLength), signal });
    return this.#sequence;
  }
}

function checkVocabulary(draft: Model, target: Model): void {
  const [own, wanted] = [draft.header, target.header];
  const name = draft.parts.file.source.name;
  const sizes = [own.geometry.vocabSize, wanted.geometry.vocabSize];
  if (sizes[0] !== sizes[1]) {
    throw new InputError(
      "INPUT_INVALID",
      `${name} has ${sizes[0]} tokens, but the model that it is to draft for has ${sizes[1]}; take a draft model of the same family`,
      { details: { vocabSize: sizes[0], expected: sizes[1] } },
    );
  }
  if (vocabularyOf(own) === vocabularyOf(wanted)) return;
  throw new InputError(
    "INPUT_INVALID",
    `${name} has another tokenizer than the model that it is to draft for, so that its tokens mean other texts; take a draft model of the same family`,
  );
}

/** What texts tokens stand for, as a text to compare: a document of Hugging Face's, or llama.cpp's list. */
function vocabularyOf({ tokenizerJson, values }: ModelHeader): string | null {
  const tokens = values.get("tokenizer.ggml.tokens");
  return tokenizerJson ?? (tokens?.type === "array" ? tokens.value.join("\n") : null);
}
