/** Saved results as they are read: whole ones, those of later pages, and what no page has saved. */
import { expect, it } from "vitest";
import { RESULT_FORMAT, RESULT_VERSION, readResult } from "./result-file.js";
import { DEFAULT_SETTINGS } from "./run-settings.js";

const result = {
  format: RESULT_FORMAT,
  version: RESULT_VERSION,
  model: { name: "m.gguf", fileBytes: 512, sha256: "a".repeat(64), from: "o/r/m.gguf" },
  settings: { ...DEFAULT_SETTINGS, budgetPercent: 40, policy: "lru" },
  input: { kind: "text", prompt: "In the" },
  text: " beginning",
};
const read = (changes: object) => readResult("saved.json", JSON.stringify({ ...result, ...changes }));

it("reads what it needs, and leaves what it does not know", () => {
  const { format: _, version: __, ...needed } = result;
  expect(read({ laterField: 1, settings: { ...result.settings, laterSetting: true } })).toEqual(needed);
});

it("a setting that is absent is as a page begins with it", () => {
  expect(read({ settings: { budgetPercent: 40 } }).settings).toEqual({ ...DEFAULT_SETTINGS, budgetPercent: 40 });
});

it.each([
  ["format", { format: "x" }, /^saved\.json: format is "x", expected flashwick-lab-result/],
  ["version", { version: 2 }, /version is 2, expected 1/],
  ["model", { model: null }, /model is null, expected an object/],
  ["name", { model: { ...result.model, name: "" } }, /model\.name is "", expected a name/],
  ["checksum", { model: { ...result.model, sha256: "abc" } }, /model\.sha256 is "abc", expected 64 hexadecimal digits/],
  ["setting", { settings: { maxTokens: "9" } }, /maxTokens is "9", expected a number from 1 to 1024/],
  ["input", { input: { kind: "song" } }, /input\.kind is "song", expected text or chat/],
  ["messages", { input: { kind: "chat", messages: [{ role: "user" }] } }, /input\.messages is .*, expected messages/],
  ["text", { text: undefined }, /text is nothing, expected a text/],
])("refuses another %s, naming the field", (_, changes, message) => {
  expect(() => read(changes)).toThrow(message);
});
