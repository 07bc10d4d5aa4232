/**
 * The keywords of JSON Schema that answers are held to. The grammar engine is silent about some that it does not know, and an answer would then not be of the
 * schema; so whatever is not on this list is refused.
 */
import { badRequest } from "./api-error.js";

/** Say nothing of what is allowed. */
const ANNOTATIONS = [
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$schema",
  "$id",
  "$comment",
];
const CONDITIONS = [
  ...["type", "enum", "const", "$ref", "format", "pattern", "minLength", "maxLength"],
  ...["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"],
  ...["required", "minProperties", "maxProperties"],
];
/** Hold a schema, a list of them, or some by name. A `oneOf` is taken for an `anyOf`: its alternatives seldom overlap. */
const SCHEMAS = ["items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems"];
const LISTS = ["anyOf", "oneOf", "allOf", "prefixItems"];
const MAPS = ["properties", "$defs", "definitions"];

const KNOWN: ReadonlySet<string> = new Set([...ANNOTATIONS, ...CONDITIONS, ...SCHEMAS, ...LISTS, ...MAPS]);

/** @throws {ApiError} 400 naming the keyword that answers cannot be held to. */
export function checkSchemaKeywords(schema: unknown): void {
  // True and false are schemas, too. Anything else is for the engine to complain about.
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) return;
  for (const [keyword, value] of Object.entries(schema)) {
    if (!KNOWN.has(keyword)) throw unmet(`the keyword ${keyword}`);
    if (keyword === "allOf" && Array.isArray(value) && value.length > 1) throw unmet("several schemas in allOf");
    if (keyword === "pattern" && /\(\?[=!<]/.test(String(value))) throw unmet("a pattern that looks ahead or behind");
    if (MAPS.includes(keyword)) Object.values(value ?? {}).forEach(checkSchemaKeywords);
    else if (LISTS.includes(keyword) && Array.isArray(value)) value.forEach(checkSchemaKeywords);
    else if (SCHEMAS.includes(keyword)) checkSchemaKeywords(value);
  }
}

function unmet(what: string) {
  return badRequest(
    `answers cannot be held to ${what.slice(0, 80)}; leave it out of the schema`,
    "unsupported_schema",
    "response_format",
  );
}
