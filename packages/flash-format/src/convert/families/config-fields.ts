/** Fields that the config.json of many families has, with the bounds of a believable model. */
import { type AttentionGeometry, FormatError } from "@flashwick/core";
import * as v from "valibot";
import { MAX_EXPERTS, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH } from "../../geometry-limits.js";
import { checkDocument } from "../checkpoint-document.js";

/** A positive integer of at most `max`. */
export function sizeField(max: number) {
  return v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));
}

/** Of a norm. */
export const epsilonField = v.pipe(v.number(), v.gtValue(0), v.ltValue(1));

/** Sizes under the names that every family but the oldest gives them. */
export const decoderSizes = {
  hidden_size: sizeField(MAX_WIDTH),
  intermediate_size: sizeField(MAX_WIDTH),
  num_hidden_layers: sizeField(MAX_LAYERS),
  num_attention_heads: sizeField(MAX_WIDTH),
  vocab_size: sizeField(MAX_VOCAB),
};

/** Of experts in a layer, or for a token. */
export const expertCountField = sizeField(MAX_EXPERTS);

/** @throws {FormatError} `CHECKPOINT_CONFIG` for a token that uses more experts than there are. @param field That says how many there are. */
export function checkChosen(chosen: number, count: number, field: string, where: string): void {
  if (chosen <= count) return;
  throw new FormatError(
    "CHECKPOINT_CONFIG",
    `${where}: field num_experts_per_tok: expected at most ${count}, which is ${field}, found ${chosen}`,
    { details: { file: where, field: "num_experts_per_tok", expected: count, found: chosen } },
  );
}

/** A token id, or null. Of a list, which newer configurations allow for the end of text, the first. */
export function tokenIdField(whenAbsent: number | null) {
  const id = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_VOCAB));
  const first = v.pipe(
    v.array(id),
    v.transform((ids) => ids[0] ?? null),
  );
  return v.optional(v.nullable(v.union([id, first])), whenAbsent);
}

/** @throws {FormatError} `CHECKPOINT_CONFIG` for heads that do not go into one another. */
export function checkHeads(
  { nHeads, nKvHeads, headDim }: Pick<AttentionGeometry, "nHeads" | "nKvHeads" | "headDim">,
  where: string,
): void {
  const schema = v.object({
    num_attention_heads: v.custom(() => Number.isInteger(headDim), "a divisor of hidden_size"),
    num_key_value_heads: v.custom(() => nHeads % nKvHeads === 0, "a divisor of num_attention_heads"),
  });
  const found = { num_attention_heads: nHeads, num_key_value_heads: nKvHeads };
  checkDocument(schema, found, where, "CHECKPOINT_CONFIG");
}
