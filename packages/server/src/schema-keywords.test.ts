import { expect, it } from "vitest";
import { checkSchemaKeywords } from "./schema-keywords.js";

const schemas = [
  {
    type: "object",
    properties: { a: { type: "string", minLength: 1, title: "A" } },
    required: ["a"],
    additionalProperties: false,
  },
  { anyOf: [{ $ref: "#/$defs/a" }, { type: "null" }], $defs: { a: { enum: [1, "b"] } } },
  { type: "array", prefixItems: [{ const: 1 }], items: { type: "number", maximum: 3 }, maxItems: 4 },
  { allOf: [{ type: "integer" }] },
  true,
];

it.each(schemas)("takes %j", (schema) => expect(() => checkSchemaKeywords(schema)).not.toThrow());

it("a property may have the name of a keyword", () => {
  expect(() => checkSchemaKeywords({ properties: { not: { type: "string" }, if: {} } })).not.toThrow();
});

it.each([
  ["a keyword", { uniqueItems: true }, "uniqueItems"],
  ["one in a property", { properties: { a: { not: {} } } }, "not"],
  ["one in an alternative", { anyOf: [{ items: { contains: {} } }] }, "contains"],
  ["one in a definition", { $defs: { a: { if: {} } } }, "if"],
  ["one that holds for names", { patternProperties: { "^a": {} } }, "patternProperties"],
  ["one that holds for all other properties", { additionalProperties: { multipleOf: 2 } }, "multipleOf"],
  ["several at once", { allOf: [{}, {}] }, "allOf"],
  ["what only looks ahead", { pattern: "a(?!b)" }, "looks ahead"],
])("refuses %s", (_, schema, word) => {
  expect(() => checkSchemaKeywords(schema)).toThrow(
    expect.objectContaining({ status: 400, code: "unsupported_schema", message: expect.stringContaining(word) }),
  );
});
