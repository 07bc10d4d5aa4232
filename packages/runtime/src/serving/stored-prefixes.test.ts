/** Prompts that outlive the process: read instead of computed, with the same texts; never those of another model. */
import { expect, it } from "vitest";
import { type FixtureOptions, openFixture } from "../checkpoint.fixture.js";
import { noisePredictor } from "../noise-predictor.fixture.js";
import type { PrefixStore } from "./prefix-store.js";
import type { ServedRequest } from "./served-request.js";
import { generateAlone, readText } from "./serving.fixture.js";
import { pageKeys } from "./stored-prefixes.js";

const NAME = "opt-tiny-sharded";
const PROMPT = Array.from({ length: 50 }, (_, i) => (i * 37) % 500);
const request = (prompt: readonly number[]): ServedRequest => ({ prompt, maxTokens: 12, ignoreEos: true });

class MemoryStore implements PrefixStore {
  readonly pages = new Map<string, Uint8Array>();
  async has(key: string) {
    return this.pages.has(key);
  }
  async read(key: string, sizeBytes: number) {
    const page = this.pages.get(key);
    return page?.length === sizeBytes ? page.slice() : null;
  }
  async write(key: string, bytes: Uint8Array) {
    this.pages.set(key, bytes.slice());
  }
}

/** Opens a model, serves the prompt with the store, and says how many tokens were reused and whether the text is that of the model alone. */
async function serve(prefixStore: PrefixStore, options: FixtureOptions = {}, prompt: readonly number[] = PROMPT) {
  const model = await openFixture(NAME, { contextTokens: 96, kvPrecision: "f16", ...options });
  const expected = await generateAlone(model, request(prompt));
  const scheduler = await model.openScheduler({ prefixStore });
  const { tokens, summary } = await readText(scheduler.generate(request(prompt)));
  expect(tokens).toEqual(expected.tokens);
  await scheduler.drain();
  await scheduler.close();
  await model.close();
  return summary.reusedTokens;
}

it.each(["f32", "f16", "int8"] as const)(
  "whole pages are read where they were computed before, as %s",
  async (kvPrecision) => {
    const store = new MemoryStore();
    expect(await serve(store, { kvPrecision })).toBe(0);
    expect(store.pages.size).toBe(3);
    expect(await serve(store, { kvPrecision })).toBe(48);
    expect(await serve(store, { kvPrecision }, [...PROMPT.slice(0, 40), 7, 8, 9])).toBe(32);
    // The last token of a prompt is computed, whatever is stored.
    expect(await serve(store, { kvPrecision }, PROMPT.slice(0, 48))).toBe(32);
  },
);

it("by the sparse path's prompts and by the dense model's, in one arena or several, within any budget", async () => {
  const store = new MemoryStore();
  const plain = await openFixture(NAME);
  await plain.close();
  expect(await serve(store)).toBe(0);
  expect(await serve(store, { predictor: noisePredictor(plain.header), dramBudgetBytes: 700_000 })).toBe(48);
  expect(await serve(store, { maxArenaBytes: 1_000_000 })).toBe(48);
});

it.each<[string, FixtureOptions]>([
  ["precision", { kvPrecision: "int8" }],
  ["type of weights", { dtype: "int8" }],
  ["kernels", { backend: "reference" }],
])("not with another %s", async (_, options) => {
  const store = new MemoryStore();
  await serve(store);
  expect(await serve(store, options)).toBe(0);
});

it("a page that is missing or of another size is computed, and those after it", async () => {
  const store = new MemoryStore();
  await serve(store);
  const [, second, third] = [...store.pages.keys()];
  store.pages.set(second!, new Uint8Array(3));
  expect(await serve(store)).toBe(16);
  store.pages.delete(third!);
  store.pages.delete(second!);
  expect(await serve(store)).toBe(16);
  expect(await serve(store)).toBe(48);
});

it("keys depend on all tokens before the end of their page, and on the model", () => {
  const keys = pageKeys("a", PROMPT);
  expect(keys.length).toBe(3);
  expect(new Set(keys).size).toBe(3);
  expect(pageKeys("a", PROMPT.slice(0, 33))).toEqual(keys.slice(0, 2));
  expect(pageKeys("b", PROMPT)[0]).not.toBe(keys[0]);
  expect(pageKeys("a", [1, ...PROMPT.slice(1)]).every((key) => !keys.includes(key))).toBe(true);
});
