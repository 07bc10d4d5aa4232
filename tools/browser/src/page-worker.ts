/**
 * What runs in the page's worker during tests: each command of the test becomes calls of the library, and comes back as plain data. Errors come back
 * as `{ error: { code, message, details } }`.
 */
import { isFlashwickError, Random } from "@flashwick/core";
import { openModelFile, verifyModelFile } from "@flashwick/flash-format";
import {
  FAULT_KINDS,
  FAULT_WORDS,
  type FaultKind,
  faultCases,
  readerCases,
  runFaultCase,
  runReaderCase,
} from "@flashwick/flash-io/conformance";
import { httpSource } from "@flashwick/flash-io/http";
import { canShareMemory, ModelStore, openOpfsReader } from "@flashwick/flash-io/opfs";
import { createSampler } from "@flashwick/runtime";
import { type OpenBrowserModelOptions, openStoredModel } from "@flashwick/runtime/browser";
import { makeHandlesFail } from "./faulty-handles.js";

interface ImportCommand {
  readonly url: string;
  readonly name: string;
  readonly tries?: number;
  /** Bytes. */
  readonly abortAfter?: number;
  readonly verify?: boolean;
}

interface DecodeCommand {
  readonly name: string;
  readonly options: OpenBrowserModelOptions;
  readonly prompt: string;
  readonly count: number;
}

type Command = { readonly id: number; readonly name: keyof typeof commands; readonly args: never };

let stop = new AbortController();
const createWorker = () => new Worker("/opfs-reader-worker.js", { type: "module" });

const commands = {
  async state() {
    return { isolated: canShareMemory(), models: await (await ModelStore.open()).list() };
  },
  async importUrl({ url, name, tries, abortAfter, verify = true }: ImportCommand) {
    stop = new AbortController();
    const store = await ModelStore.open();
    let first = -1;
    const model = await store.importUrl(url, {
      name,
      ...(tries === undefined ? {} : { tries }),
      signal: stop.signal,
      verify: async (source) => {
        if (!verify) return;
        const { ok } = await verifyModelFile(await openModelFile(source));
        if (!ok) throw new Error("the model is damaged");
      },
      onProgress: ({ loaded }) => {
        if (first < 0) first = loaded;
        self.postMessage({ progress: loaded });
        if (abortAfter !== undefined && loaded >= abortAfter) stop.abort(new Error("enough"));
      },
    });
    return { model, firstProgress: first };
  },
  /** Random runs through a reader, as sums that the test can check against the file. */
  async read({
    name,
    readers,
    seed,
    count,
    stride,
  }: {
    name: string;
    readers?: number;
    seed: number;
    count: number;
    stride: number;
  }) {
    const store = await ModelStore.open();
    const reader = await openOpfsReader(await store.file(name), {
      createWorker,
      ...(readers === undefined ? {} : { readers }),
    });
    const pages = Math.ceil((count * stride * 4) / 65536) + 1;
    const memory = new Uint8Array(
      reader.needsSharedMemory
        ? new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer
        : new ArrayBuffer(pages * 65536),
    );
    const random = new Random(seed);
    const sums: [number, number][] = [];
    for (let batch = 0; batch < 4; batch++) {
      let ptr = 0;
      const runs = Array.from({ length: count }, () => {
        const records = 1 + random.below(3);
        const offset = random.below(Math.floor(reader.fileBytes / stride) - 4) * stride;
        const pieces = Array.from({ length: records }, () => {
          const piece = { ptr, sizeBytes: stride };
          ptr += stride;
          return piece;
        });
        return { offset, sizeBytes: records * stride, pieces, picks: records };
      });
      reader.start(memory, runs);
      const half = reader.wait(count >> 1);
      if (half) await half;
      const rest = reader.wait();
      if (rest) await rest;
      for (const { offset, pieces } of runs) {
        for (const [i, piece] of pieces.entries()) sums.push([offset + i * stride, sumOf(memory, piece.ptr, stride)]);
      }
    }
    const facts = { readers: reader.readers, fallback: reader.fallback, mode: reader.mode };
    await reader.close();
    return { ...facts, sums };
  },
  /** A read beyond the end, and after it one that is well. */
  async readPastEnd({ name, readers }: { name: string; readers: number }) {
    const store = await ModelStore.open();
    const reader = await openOpfsReader(await store.file(name), { readers, createWorker });
    const memory = new Uint8Array(
      readers > 0 ? new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer : new ArrayBuffer(65536),
    );
    const run = (offset: number) => [{ offset, sizeBytes: 512, pieces: [{ ptr: 0, sizeBytes: 512 }], picks: 1 }];
    let code = "";
    try {
      reader.start(memory, run(reader.fileBytes - 100));
      await reader.wait();
    } catch (error) {
      code = isFlashwickError(error) ? error.code : String(error);
    }
    reader.start(memory, run(0));
    await reader.wait();
    const sum = sumOf(memory, 0, 512);
    await reader.close();
    return { code, sum };
  },
  /** One case of the conformance table of readers. */
  async conform({ title, readers }: { title: string; readers: number }) {
    const c = readerCases.find((c) => c.title === title)!;
    await runReaderCase(c, async (bytes) => {
      const file = await storedFile(bytes);
      const reader = await openOpfsReader(file, { readers, createWorker });
      if (readers === 0) return { reader };
      // Reader workers can be limited; the type that is public does not say so.
      const { limit } = reader as unknown as { limit(readers: number): void };
      const hold = () => {
        limit.call(reader, 0);
        return () => limit.call(reader, readers);
      };
      return { reader, hold };
    });
  },
  /** One row of the table of faults: which outcomes there are, and how many operations were struck. */
  async fault({ kind, readers }: { kind: FaultKind; readers: number }) {
    const words = new Int32Array(new SharedArrayBuffer(20));
    const createWorker = () => {
      const worker = new Worker("/faulty-opfs-worker.js", { type: "module" });
      worker.postMessage({ faults: words });
      return worker;
    };
    const mend = readers === 0 ? makeHandlesFail(words) : () => {};
    try {
      const { outcomes, struck } = await runFaultCase(faultCases.find((row) => row.kind === kind)!, async (bytes) => ({
        reader: await openOpfsReader(await storedFile(bytes), { readers, createWorker }),
        operations: () => Atomics.load(words, FAULT_WORDS.operations),
        arm(fault) {
          words.set([fault ? FAULT_KINDS.indexOf(fault.kind) : -1, fault?.at ?? 0, fault?.seed ?? 0], FAULT_WORDS.kind);
          Atomics.store(words, FAULT_WORDS.operations, 0);
        },
      }));
      return { outcomes: [...outcomes], struck };
    } finally {
      mend();
    }
  },
  async rate({
    name,
    readers,
    sizeBytes,
    seconds,
  }: {
    name: string;
    readers: number;
    sizeBytes: number;
    seconds: number;
  }) {
    const store = await ModelStore.open();
    const reader = await openOpfsReader(await store.file(name), { readers, createWorker });
    const count = 256;
    const pages = Math.ceil((count * sizeBytes) / 65536);
    const memory = new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
    const random = new Random(1);
    const blocks = Math.floor(reader.fileBytes / sizeBytes);
    let bytes = 0;
    const begin = performance.now();
    while (performance.now() - begin < 1000 * seconds) {
      const runs = Array.from({ length: count }, (_, i) => ({
        offset: random.below(blocks) * sizeBytes,
        sizeBytes,
        pieces: [{ ptr: i * sizeBytes, sizeBytes }],
        picks: 1,
      }));
      reader.start(memory, runs);
      const pending = reader.wait();
      if (pending) await pending;
      bytes += count * sizeBytes;
    }
    const ms = performance.now() - begin;
    await reader.close();
    return { bytesPerSec: (1000 * bytes) / ms };
  },
  /** The likeliest tokens after a prompt, and what a thread more or less must not change of the logits. */
  async decode({ name, options, prompt, count }: DecodeCommand) {
    const model = await openStoredModel(await ModelStore.open(), name, options);
    try {
      const ids = model.tokenizer.encode(prompt, true);
      return await model.withSequence(ids.length + count, async (sequence) => {
        const sample = createSampler({ temperature: 0 });
        let { logits } = await sequence.prefill(ids);
        const tokens: number[] = [];
        const sums = [sumOfBits(logits)];
        const begin = performance.now();
        for (let i = 0; i < count; i++) {
          tokens.push(sample(logits));
          ({ logits } = await sequence.decode(tokens[i]!));
          sums.push(sumOfBits(logits));
        }
        const tokensPerSec = (1000 * count) / (performance.now() - begin);
        return { tokens, sums, tokensPerSec, threading: model.threading };
      });
    } finally {
      await model.close();
    }
  },
  async remove({ name }: { name: string }) {
    await (await ModelStore.open()).delete(name);
  },
  async inspectUrl({ url }: { url: string }) {
    const { header } = await openModelFile(await httpSource(url));
    return { nLayers: header.geometry.layers.length, fingerprint: header.fingerprint };
  },
  async inspect({ name }: { name: string }) {
    const source = await (await ModelStore.open()).openSource(name);
    const { header } = await openModelFile(source);
    await source.close();
    return { nLayers: header.geometry.layers.length, fingerprint: header.fingerprint };
  },
};

async function storedFile(bytes: Uint8Array): Promise<FileSystemFileHandle> {
  const root = await navigator.storage.getDirectory();
  const file = await root.getFileHandle("conformance.bin", { create: true });
  const writable = await file.createWritable();
  await writable.write(bytes as Uint8Array<ArrayBuffer>);
  await writable.close();
  return file;
}

function sumOfBits({ buffer, byteOffset, byteLength }: Float32Array): number {
  return sumOf(new Uint8Array(buffer, byteOffset, byteLength), 0, byteLength);
}

function sumOf(memory: Uint8Array, ptr: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum = (Math.imul(sum, 31) + memory[ptr + i]!) >>> 0;
  return sum;
}

self.onmessage = async ({ data }: MessageEvent<Command>) => {
  const { id, name, args } = data;
  try {
    self.postMessage({ id, result: await (commands[name] as (args: never) => Promise<unknown>)(args) });
  } catch (error) {
    const { code = "", message = "", details = {} } = error as { code?: string; message?: string; details?: object };
    self.postMessage({ id, error: { code: isFlashwickError(error) ? code : "", message, details } });
  }
};
