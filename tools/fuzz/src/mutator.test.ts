/** How inputs are made: as much as is asked for, the same of the same seed, and mostly in their form. */
import { Random } from "@flashwick/core";
import { decodeGgufHeader } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import { bytesOf, type InputForm, jsonBytes, textOf } from "./harness.js";
import { foreignHeader } from "./harnesses/model-headers.js";
import { createMutator } from "./mutator.js";

const MAX_BYTES = 4096;

function inputsOf(form: InputForm, parents: readonly Uint8Array[], seed = 1, count = 400): Uint8Array[] {
  const harness = { ...foreignHeader, form, words: ["key", "value"], maxBytes: MAX_BYTES };
  const random = new Random(seed);
  const mutate = createMutator(harness, random);
  const some = () => parents[random.below(parents.length)]!;
  return Array.from({ length: count }, () => mutate(some(), some()).slice());
}

const shareOf = (inputs: readonly Uint8Array[], fits: (input: Uint8Array) => unknown) =>
  inputs.filter((input) => {
    try {
      fits(input);
      return true;
    } catch {
      return false;
    }
  }).length / inputs.length;

describe("inputs", () => {
  const parents = [bytesOf("abcdef"), bytesOf("x".repeat(5000)), new Uint8Array(0)];

  it("are the same of the same seed, others of another, and hardly ever their parents", () => {
    expect(inputsOf("bytes", parents)).toEqual(inputsOf("bytes", parents));
    expect(inputsOf("bytes", parents)).not.toEqual(inputsOf("bytes", parents, 2));
    const texts = new Set(inputsOf("bytes", parents).map(textOf));
    expect(texts.size).toBeGreaterThan(200);
  });
  it("as bytes are never longer than the harness takes", () => {
    for (const { length } of inputsOf("bytes", parents)) expect(length).toBeLessThanOrEqual(MAX_BYTES);
  });
  it("as JSON are JSON, mostly, and leave their parents alone", () => {
    const document = { a: [1, "b", null], key: { c: true } };
    const parent = jsonBytes(document);
    const made = inputsOf("json", [parent]);
    expect(shareOf(made, (input) => JSON.parse(textOf(input)))).toBeGreaterThan(0.6);
    expect(made.some((input) => textOf(input).includes('"__proto__"'))).toBe(true);
    expect(textOf(parent)).toBe(JSON.stringify(document));
  });
  it("of a document that nests too deep to be copied are made as bytes", () => {
    const deep = bytesOf("[".repeat(3000) + "]".repeat(3000));
    expect(inputsOf("json", [deep])).toHaveLength(400);
  });
  it("as JSON were gigabytes where a list of marks for deep values was doubled, and took minutes to make", () => {
    const marks = jsonBytes(Array.from({ length: 4000 }, () => "\ue0005\ue000"));
    for (const { length } of inputsOf("json", [marks], 1, 50)) expect(length).toBeLessThanOrEqual(2 ** 20);
  });
  it("as GGUF headers are headers, mostly", async () => {
    const parents = (await foreignHeader.seeds()).filter(({ length }) => length <= MAX_BYTES);
    expect(parents.length).toBeGreaterThan(0);
    const share = shareOf(inputsOf("gguf", parents), (input) => decodeGgufHeader(input, "made"));
    expect(share).toBeGreaterThan(0.4);
  });
});
