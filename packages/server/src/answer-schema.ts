/** The schema that an answer must meet, from the format that a request names. */
import { checkSchemaKeywords } from "./schema-keywords.js";

/** Any object: properties that nobody names, of any kind. */
const JSON_OBJECT = JSON.stringify({ type: "object", additionalProperties: true });

/** A format, whichever route it came by. */
export type AnswerFormat =
  | { readonly type: "text" | "json_object" }
  | { readonly type: "json_schema"; readonly schema: unknown };

/**
 * The schema, written out; null: the answer is free.
 *
 * @throws {ApiError} 400 for keywords that an answer cannot be held to.
 */
export function answerSchema(format: AnswerFormat | null | undefined): string | null {
  if (format?.type === "json_object") return JSON_OBJECT;
  if (format?.type !== "json_schema") return null;
  checkSchemaKeywords(format.schema);
  return JSON.stringify(format.schema);
}
