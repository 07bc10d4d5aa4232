/**
 * A process of its own around the peer, node-llama-cpp: decodes some tokens from a mapped file and prints one JSON document,
 * `{ loadMs, firstMs, tokenMs: number[], readBytes }`.
 *
 *     node bench-peer.js <node-llama-cpp's entry> <model.gguf> <prompt> <tokens> <threads>
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** What is used of node-llama-cpp 3. */
interface Peer {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<PeerModel> }>;
}
interface PeerModel {
  tokenize(text: string): readonly number[];
  createContext(options: object): Promise<{ getSequence(): PeerSequence }>;
}
interface PeerSequence {
  evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
}

const [entry, modelPath, prompt, count, threads] = process.argv.slice(2) as [string, string, string, string, string];
const { getLlama } = (await import(pathToFileURL(entry).href)) as Peer;
const begin = performance.now();
const llama = await getLlama({ gpu: false, build: "never", maxThreads: Number(threads), logLevel: "error" });
const model = await llama.loadModel({ modelPath, useMmap: true, useDirectIo: false, gpuLayers: 0 });
const context = await model.createContext({ contextSize: 256, threads: Number(threads), batchSize: 64 });
const sequence = context.getSequence();
const loadMs = performance.now() - begin;
const times: number[] = [];
let last = performance.now();
for await (const _ of sequence.evaluate(model.tokenize(prompt), { temperature: 0 })) {
  const now = performance.now();
  times.push(now - last);
  last = now;
  if (times.length > Number(count)) break;
}
const [firstMs, ...tokenMs] = times;
const readBytes = Number(/^read_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? Number.NaN);
process.stdout.write(`${JSON.stringify({ loadMs, firstMs, tokenMs, readBytes })}\n`, () => process.exit(0));
