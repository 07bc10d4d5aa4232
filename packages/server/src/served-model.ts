/** What the routes need to know of the model that is served. */
import type { ChatTemplate, Model, TextTokenizer } from "@flashwick/runtime";
import { notFound } from "./api-error.js";

/** The model behind a server, and the name that clients use. */
export interface ServedModel {
  /** What clients call it: the file's name, without its folder. */
  readonly name: string;
  /** Seconds since 1970 at which it was opened. */
  readonly createdSeconds: number;
  /** Names the weights, in answers. */
  readonly fingerprint: string;
  /** Tokens of prompt and answer together. */
  readonly contextTokens: number;
  readonly vocabSize: number;
  readonly tokenizer: TextTokenizer;
  /** Null: it was not made for conversations. */
  readonly chatTemplate: ChatTemplate | null;
}

/**
 * @param path As the model was opened. Only the last part of it is ever told.
 * @throws {InputError} `INPUT_NO_TOKENIZER` for a model without one. {FormatError} for a template that is none.
 */
export function describeModel(model: Model, path: string, nowSeconds: number): ServedModel {
  const { header, tokenizer, contextTokens } = model;
  const { geometry, fingerprint, values } = header;
  return {
    name: path.split(/[\\/]/).pop()!,
    createdSeconds: Math.floor(nowSeconds),
    fingerprint: `fw_${fingerprint.slice(0, 12)}`,
    contextTokens: contextTokens ?? geometry.contextLength,
    vocabSize: geometry.vocabSize,
    tokenizer,
    chatTemplate: values.has("tokenizer.chat_template") ? model.chatTemplate : null,
  };
}

/** A name is compared, and nothing else. @throws {ApiError} 404 for another one. */
export function checkModelName(served: ServedModel, name: string): void {
  if (name !== served.name) throw notFound(`the only model here is ${served.name}`, "model_not_found", "model");
}

/** The model as `/v1/models` lists it. */
export function modelDocument({ name, createdSeconds, contextTokens }: ServedModel): object {
  return { id: name, object: "model", created: createdSeconds, owned_by: "flashwick", context_length: contextTokens };
}
