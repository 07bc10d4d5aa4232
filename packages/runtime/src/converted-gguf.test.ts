/** GGUF files of llama.cpp, converted into records: the same model, the same tokens, the same conversation. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource } from "@flashwick/core";
import {
  createModelWriter,
  encodeGgufHeader,
  type GgufValue,
  type ModelHeader,
  openModelFile,
  readGgufHeader,
} from "@flashwick/flash-format";
import { type CreateWriter, convertGguf } from "@flashwick/flash-format/convert";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import { describe, expect, it } from "vitest";
import { readChatTemplate } from "./chat/chat-template.js";
import { convertedGguf, ggufBytes, openModelBytes, readGolden } from "./checkpoint.fixture.js";
import { requireDeviceModel } from "./device-compute.js";
import { expectGreedy, farthestLogit } from "./golden.fixture.js";
import { openModel } from "./node/open-model.js";
import { scoreTokens } from "./score.js";
import { readTokenizer } from "./tokenizer/read-tokenizer.js";
import {
  models,
  SMOLLM2,
  smolPath,
  TINY_VOCABULARIES,
  tinyCases,
  tinyMetadata,
} from "./tokenizer/tokenizer.fixture.js";

const FILES = ["llama", "llama3", "qwen2", "qwen3", "gemma3", "gemma3-linear"] as const;
const MARGIN = 0.05;
/** f32 keeps every weight of the blocks, f16 eleven bits of it. */
const TOLERANCES = { f32: 2e-3, f16: 2e-2 } as const;

describe.each(FILES)("%s.gguf as records", (name) => {
  const golden = readGolden(`gguf-${name}`);

  it.each(Object.entries(TOLERANCES) as ["f32" | "f16", number][])(
    "of %s gives the reference's logits within %f, and its continuation",
    async (dtype, tolerance) => {
      const model = await openModelBytes(await convertedGguf(ggufBytes(name), name, dtype), name);
      for (const { tokens, positions } of golden.cases) {
        expect(await farthestLogit(model, tokens, positions, MARGIN)).toBeLessThan(tolerance);
      }
      await expectGreedy(model, golden, MARGIN);
      await model.close();
    },
    60_000,
  );

  it("streamed gives the bits of resident", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 24);
    const bytes = await convertedGguf(ggufBytes(name), name, "f16");
    const options = { contextTokens: 32, kvPrecision: "f32", mode: "dense" } as const;
    const resident = await openModelBytes(bytes, name, options);
    const expected = await scoreTokens(resident, tokens, { top: 8 });
    const { smallestBudgetBytes, dram } = resident.plan(32);
    await resident.close();
    for (const share of [0, 0.5]) {
      const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
      const streamed = await openModelBytes(bytes, name, { ...options, dramBudgetBytes });
      expect(await scoreTokens(streamed, tokens, { top: 8 })).toEqual(expected);
      await streamed.close();
    }
  });
});

/** Widths that are multiples of 32, heads too. */
describe.each(["llama", "qwen2"] as const)("%s.gguf as records of q4, gated", (name) => {
  it("streamed and resident, on WebAssembly: the same bits, whatever the budget", async () => {
    const tokens = readGolden(`gguf-${name}`).cases.at(-1)!.tokens.slice(0, 24);
    const bytes = await convertedGguf(ggufBytes(name), name, "q4");
    const options = { contextTokens: 32, kvPrecision: "f32", mode: "dense" } as const;
    const resident = await openModelBytes(bytes, name, options);
    const expected = await scoreTokens(resident, tokens, { top: 8 });
    const { smallestBudgetBytes, dram } = resident.plan(32);
    await resident.close();
    for (const share of [0, 0.5]) {
      const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
      const streamed = await openModelBytes(bytes, name, { ...options, dramBudgetBytes });
      expect(await scoreTokens(streamed, tokens, { top: 8 })).toEqual(expected);
      await streamed.close();
    }
    const reference = await openModelBytes(bytes, name, { ...options, backend: "reference" });
    const close = await scoreTokens(reference, tokens.slice(0, 8), { top: 1 });
    for (const [i, { logSumExp }] of close.entries()) expect(logSumExp).toBeCloseTo(expected[i]!.logSumExp, 2);
    await reference.close();
  });
});

it("WebGPU refuses records of q4 by name, before anything is loaded", async () => {
  const bytes = await convertedGguf(ggufBytes("llama"), "llama", "q4");
  const { header } = await openModelFile(memorySource(bytes));
  expect(() => requireDeviceModel(header)).toThrow(
    /records of neurons of type q4, expected one of f32, f16, bf16, int8/,
  );
});

/** The header of llama.gguf converted, after it was given a vocabulary and a template. */
async function carried(vocabulary: string): Promise<ModelHeader> {
  const bytes = ggufBytes("llama");
  const [{ metadata, tensors }, { dataOffset }] = [
    await readGgufHeader(memorySource(bytes)),
    (await openModelFile(memorySource(bytes))).header,
  ];
  const own = [...(await tinyMetadata(vocabulary))].filter(([key]) => key.startsWith("tokenizer."));
  const template = ["tokenizer.chat_template", { type: "string", value: "{{ bos_token }}{{ messages[0].content }}" }];
  const plain = [...metadata].filter(([key]) => !key.startsWith("tokenizer."));
  const given = new Map([...plain, ...own, template] as [string, GgufValue][]);
  const head = encodeGgufHeader({ metadata: given, tensors }).bytes;
  const made = new Uint8Array(Math.ceil(head.length / 32) * 32 + bytes.length - dataOffset);
  made.set(head);
  made.set(bytes.subarray(dataOffset), Math.ceil(head.length / 32) * 32);
  return (await openModelFile(memorySource(await convertedGguf(made, vocabulary, "f16"), vocabulary))).header;
}

describe.each(TINY_VOCABULARIES)("the vocabulary of %s.gguf in a converted model", (name) => {
  it("gives llama.cpp's ids, and its template renders", async () => {
    const { values, tokenizerKind, tokenizerJson } = await carried(name);
    expect([tokenizerKind, tokenizerJson]).toEqual(["ggml", null]);
    const tokenizer = readTokenizer(values, name);
    for (const { text, ids, idsParsed = ids } of tinyCases(name)) {
      expect(tokenizer.encode(text, {})).toEqual(ids);
      expect(tokenizer.encode(text, { parseSpecial: true })).toEqual(idsParsed);
    }
    expect(readChatTemplate(values, name).render([{ role: "user", content: "Hello." }])).toMatch(/Hello\.$/);
  });
});

describe.skipIf(models.isMissing)(models.title("SmolLM2-135M-Instruct as records of f32"), () => {
  it(`gives the reference's logits within ${TOLERANCES.f32}, every token and every conversation of the file`, async () => {
    expect(existsSync(smolPath)).toBe(true);
    const dir = mkdtempSync(join(tmpdir(), "flashwick-convert-"));
    const path = join(dir, "smollm2.gguf");
    const source = await fileSource(smolPath);
    const create: CreateWriter = async (spec) => createModelWriter(await fileSink(path), spec);
    const result = await convertGguf(source, smolPath, create, { dtype: "f32" });
    await source.close();
    expect(result).toMatchObject({ architecture: "llama", nLayers: 30, dModel: 576, dtype: "f32", tokenizer: "ggml" });
    const golden = readGolden("smollm2");
    const model = await openModel(path, { contextTokens: 768, kvPrecision: "f32" });
    for (const { tokens, positions } of golden.cases) {
      expect(await farthestLogit(model, tokens, positions, MARGIN)).toBeLessThan(TOLERANCES.f32);
    }
    for (const { text, ids } of SMOLLM2.tokenizer.cases) expect(model.tokenizer.encode(text, {})).toEqual(ids);
    const template = readChatTemplate(model.header.values, path);
    for (const { messages, addGenerationPrompt, rendered } of SMOLLM2.chat.cases) {
      expect(template.render(messages, { addGenerationPrompt })).toBe(rendered);
    }
    await model.close();
    rmSync(dir, { recursive: true });
  }, 240_000);
});
