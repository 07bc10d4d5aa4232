/** A model in three files, as llama.cpp's gguf-split makes them, gives the bits of the same model in one, whoever reads it. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ByteSource, memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { memoryReader } from "@flashwick/flash-io";
import { httpSource, openHttpReader } from "@flashwick/flash-io/http";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { expect, it } from "vitest";
import { readGolden } from "./checkpoint.fixture.js";
import { expectGreedy } from "./golden.fixture.js";
import { Model } from "./model.js";
import type { ModelOptions, ModelParts } from "./model-options.js";
import { type OpenModelOptions, openModel } from "./node/open-model.js";
import { scoreTokens } from "./score.js";

const folder = fileURLToPath(new URL("../fixtures/gguf/", import.meta.url));
const nameOf = (i: number) => `falcon-7b-0000${i + 1}-of-00003.gguf`;
const FIRST = folder + nameOf(0);
const WHOLE = `${folder}falcon-7b.gguf`;
const OPTIONS = { contextTokens: 64, kvPrecision: "f32" as const };
const golden = readGolden("gguf-falcon-7b");
const tokens = golden.cases.at(-1)!.tokens;

async function logitsOf(model: Model): Promise<number[]> {
  const scored = await scoreTokens(model, tokens, { top: 8, probe: [1, 2, 3] });
  await model.close();
  return scored.flatMap(({ logSumExp, top, probe }) => [logSumExp, ...top.flat(), ...probe.flat()]);
}

async function openParts(parts: Pick<ModelParts, "file" | "reader">, options: ModelOptions): Promise<Model> {
  return new Model(
    { ...parts, kernels: createWasmKernels, backend: "wasm", predictor: null, clock: () => performance.now() },
    options,
  );
}

async function openInMemory(options: ModelOptions): Promise<Model> {
  const bytesOf = (name: string) => new Uint8Array(readFileSync(folder + name));
  const source = (name: string): ByteSource => ({
    ...memorySource(bytesOf(name), name),
    openSibling: async (sibling) => source(sibling),
  });
  const file = await openModelFile(source(nameOf(0)));
  const parts = file.source.parts!.map(({ name, begin }) => ({ bytes: bytesOf(name), begin }));
  return await openParts({ file, reader: memoryReader(parts) }, options);
}

async function openFromServer(options: ModelOptions): Promise<Model> {
  const serve = (async (url: string, { headers }: { headers: { range: string } }) => {
    const file = readFileSync(folder + new URL(url).pathname.slice(1));
    const [from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range)!.slice(1).map(Number) as [number, number];
    const body = file.subarray(from, to + 1);
    const contentRange = `bytes ${from}-${from + body.length - 1}/${file.length}`;
    return new Response(new Uint8Array(body), { status: 206, headers: { "content-range": contentRange } });
  }) as unknown as typeof fetch;
  const file = await openModelFile(await httpSource(`http://models/${nameOf(0)}`, { fetch: serve }));
  return await openParts({ file, reader: await openHttpReader(file.source.parts!, { fetch: serve }) }, options);
}

const onDisk = (options: OpenModelOptions) => (wish: ModelOptions) => openModel(FIRST, { ...wish, ...options });

const ways: [string, (options: ModelOptions) => Promise<Model>][] = [
  ["the calling thread", onDisk({ readers: 0 })],
  ["threads past the page cache", onDisk({ readers: 4 })],
  ["threads through the page cache, with delays", onDisk({ readers: 3, io: "buffered", jitterUs: 200 })],
  ["memory", openInMemory],
  ["HTTP", openFromServer],
];

it.each(ways)("read by %s: resident and streamed", async (_, open) => {
  const whole = await openModel(WHOLE, OPTIONS);
  const { smallestBudgetBytes, dram } = whole.plan(64);
  const expected = await logitsOf(whole);
  for (const share of [0, 0.5, 1]) {
    const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
    expect(await logitsOf(await open({ ...OPTIONS, dramBudgetBytes })), `${share}`).toEqual(expected);
  }
});

it("continues greedily as the reference does", async () => {
  const model = await openModel(FIRST);
  await expectGreedy(model, golden, 0.05);
  await model.close();
});

it("closes every file with the model's", async () => {
  const file = await openModelFile(await fileSource(FIRST));
  await file.source.close();
  const { begin } = file.source.parts![1]!;
  await expect(file.source.read(new Uint8Array(4), begin)).rejects.toThrow(nameOf(1));
});
