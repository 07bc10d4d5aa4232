/** Files that this machine keeps for later: pages of prompts, profiles of workloads, profiles of devices. Whoever can write there may have. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFlashwickError, memorySource, unitGrid } from "@flashwick/core";
import { DEVICE_PRESETS, devicePreset } from "@flashwick/cost-model";
import { decodeProfile } from "@flashwick/dram-cache";
import { crc32c, createModelWriter, type ModelFile, memorySink, openModelFile } from "@flashwick/flash-format";
import { convertCheckpoint, memoryFolder } from "@flashwick/flash-format/convert";
import { memoryReader } from "@flashwick/flash-io";
import { Model, type ModelOptions, type PrefixStore } from "@flashwick/runtime";
import { keepProfile, kernelsOf, openPrefixFolder, readKeptProfile } from "@flashwick/runtime/node";
import { BrokenPromise, type Harness, jsonBytes, textOf } from "../harness.js";
import { fixtureFolder } from "../repository-files.js";

const MiB = 2 ** 20;
const PAGE_BYTES = 96;
const HEADER_BYTES = 16;
/** What the folder may hold: some pages. */
const MOST_FOLDER_BYTES = 4 * (PAGE_BYTES + HEADER_BYTES);
/** Sparse: it takes no disk, and would take memory if it were read. */
const HUGE_BYTES = 1024 * MiB;
const KEYS = Array.from({ length: 6 }, (_, i) => `${i}`.repeat(64));

/** Does something with a folder of its own, which is gone afterwards. */
async function inFolder<T>(work: (folder: string) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "flashwick-fuzz-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A page as it is stored. */
function stored(page: Uint8Array): Uint8Array {
  const file = new Uint8Array(HEADER_BYTES + page.length);
  const header = new DataView(file.buffer);
  for (const [i, word] of [0x564b5746, 1, crc32c(page), page.length].entries()) header.setUint32(4 * i, word, true);
  file.set(page, HEADER_BYTES);
  return file;
}

/** Bytes of the input, one after the other: each decides something. Zero after the end. */
class Script {
  #at = 0;
  constructor(private readonly input: Uint8Array) {}

  get isOver(): boolean {
    return this.#at >= this.input.length;
  }

  next(ways: number): number {
    return (this.input[this.#at++] ?? 0) % ways;
  }

  take(count: number): Uint8Array {
    const bytes = this.input.subarray(this.#at, this.#at + count);
    this.#at += count;
    return bytes;
  }
}

const page = (script: Script) => new Uint8Array(PAGE_BYTES).fill(script.next(256));

/** Puts something under a name that a page may have, or nearly. */
function plant(folder: string, outside: string, script: Script): void {
  const key = KEYS[script.next(KEYS.length)]!;
  const temporary = `${key}.kv.${process.pid}.tmp`;
  const names = [`${key}.kv`, `${key}.kv`, `${key}.kv`, temporary, `${key}.kv.tmp`, `${key.slice(1)}.kv`, "x.kv"];
  const path = join(folder, names[script.next(names.length)]!);
  rmSync(path, { recursive: true, force: true });
  const way = script.next(8);
  if (way === 5) mkdirSync(join(path, "inside"), { recursive: true });
  else if (way === 6) symlinkSync([outside, folder, "/dev/zero", "nothing"][script.next(4)]!, path);
  else writeFileSync(path, plantedFile(way, script));
  if (way === 7) truncateSync(path, HUGE_BYTES);
}

/** A page that is in order, damaged, cut short, or something else. */
function plantedFile(way: number, script: Script): Uint8Array {
  const file = stored(page(script));
  if (way === 2) file[script.next(file.length)]! ^= 1 << script.next(8);
  if (way === 3) return file.subarray(0, script.next(file.length));
  return way === 4 ? script.take(script.next(200)) : file;
}

/** Uses the store as a scheduler does. */
async function useStore(store: PrefixStore, script: Script): Promise<void> {
  const key = KEYS[script.next(KEYS.length)]!;
  const way = script.next(4);
  if (way === 0) return await store.write(key, page(script));
  if (way === 1) {
    if (typeof (await store.has(key)) !== "boolean") throw new BrokenPromise("has says neither yes nor no");
    return;
  }
  const found = await store.read(key, PAGE_BYTES);
  if (found === null) return;
  if (found.length !== PAGE_BYTES || found.some((byte) => byte !== found[0])) throw new BrokenPromise("a damaged page");
}

const OUTSIDE = "what lies outside of the folder";

/** A folder of pages that others write into, while it is used. */
export const prefixFolder: Harness = {
  name: "prefix-folder",
  form: "bytes",
  words: ["\0\0\0", "\x05", "\x06\x00", "\x06\x02", "\x07"],
  maxBytes: 256,
  limits: { ms: 1000, growthBytes: 32 * MiB },
  shortInputs: 200,
  seeds: async () => [
    new Uint8Array(0),
    Uint8Array.from({ length: 48 }, (_, i) => i * 7),
    Uint8Array.from({ length: 96 }, (_, i) => (i * i) % 251),
  ],
  read: (input) => inFolder((folder) => useFolder(folder, new Script(input))),
};

async function useFolder(place: string, script: Script): Promise<void> {
  const [folder, beside] = [join(place, "prefixes"), join(place, "outside")];
  mkdirSync(folder);
  mkdirSync(beside);
  const outside = join(beside, "file");
  writeFileSync(outside, OUTSIDE);
  for (let count = script.next(6); count > 0; count--) plant(folder, outside, script);
  const strange: unknown[] = [];
  const store = await openPrefixFolder(folder, {
    maxBytes: MOST_FOLDER_BYTES,
    onError: (error) => isFlashwickError(error) || strange.push(error),
  });
  while (!script.isOver) {
    if (script.next(4) === 0) plant(folder, outside, script);
    else await useStore(store, script);
  }
  if (strange.length > 0) throw strange[0];
  if (readFileSync(outside, "utf8") !== OUTSIDE) throw new BrokenPromise("writes outside of its folder");
  if (readdirSync(beside).length !== 1) throw new BrokenPromise("makes files outside of its folder");
}

const PROFILE = devicePreset(DEVICE_PRESETS[0]!);

/** The profile of a device, as it is kept in the user's cache folder: a bad one is as good as none. */
export const keptProfile: Harness = {
  name: "kept-profile",
  form: "json",
  words: [
    "host",
    "here",
    "measuredAt",
    "profile",
    "machine",
    "folder",
    "isOfSmallFile",
    "schemaVersion",
    "flash",
    "kernels",
  ],
  maxBytes: 128 * 1024,
  limits: { ms: 500, growthBytes: 32 * MiB },
  seeds: async () => [
    await inFolder((folder) => {
      keepProfile(folder, PROFILE, new Date(0), folder, "here");
      return new Uint8Array(readFileSync(join(folder, readdirSync(folder)[0]!)));
    }),
  ],
  read: (input) =>
    inFolder((folder) => {
      writeFileSync(join(folder, `profile-${statSync(folder).dev}.json`), input);
      const profile: unknown = readKeptProfile(folder, folder, "here");
      if (profile !== null && typeof profile !== "object") throw new BrokenPromise("a profile that is none");
    }),
};

const PROMPT = [7, 30, 200];
const NAME = "mixtral.gguf";

/** A tiny mixture, and what it says without a profile. */
let mixture: Promise<{
  readonly bytes: Uint8Array;
  readonly file: ModelFile;
  readonly tokens: readonly number[];
}> | null = null;

function openMixture() {
  mixture ??= (async () => {
    const sink = memorySink(NAME);
    await convertCheckpoint(memoryFolder(fixtureFolder("mixtral-tiny")), (spec) => createModelWriter(sink, spec));
    const bytes = sink.committed!;
    const file = await openModelFile(memorySource(bytes, NAME));
    return { bytes, file, tokens: await say(bytes, file, {}) };
  })();
  return mixture;
}

async function say(bytes: Uint8Array, file: ModelFile, options: ModelOptions): Promise<readonly number[]> {
  const { name: backend, kernels } = kernelsOf("wasm");
  const parts = { file, reader: memoryReader(bytes, NAME), kernels, backend, predictor: null, clock: () => 0 };
  const model = new Model(parts, { contextTokens: 16, dramBudgetBytes: 2 * MiB, ...options });
  try {
    const run = model.generate(PROMPT, { maxTokens: 2, ignoreEos: true });
    for (;;) {
      const next = await run.next();
      if (next.done) return next.value.tokens;
    }
  } finally {
    await model.close();
  }
}

/** The experts of a workload, kept beside a mixture that is opened and run: they are read first, and change no token. */
export const workloadProfile: Harness = {
  name: "workload-profile",
  form: "json",
  words: ["format", "flashwick.profile", "version", "fingerprint", "nUnits", "hottest"],
  maxBytes: 16 * 1024,
  limits: { ms: 1500, growthBytes: 64 * MiB },
  shortInputs: 200,
  async seeds() {
    const { fingerprint } = (await openMixture()).file.header;
    const profile = { format: "flashwick.profile", version: 1, fingerprint, nUnits: 8 };
    return [
      [[0, 2], [3], [7]],
      [[], [1, 0, 3, 2], []],
    ].map((hottest) => jsonBytes({ ...profile, hottest }));
  },
  async read(input) {
    const { bytes, file, tokens } = await openMixture();
    const { fingerprint, geometry } = file.header;
    const { nLayers, dFf: nUnits } = unitGrid(geometry);
    const hotExperts = decodeProfile(textOf(input), { fingerprint, nLayers, nUnits }, "mixtral.hot.json");
    const said = await say(bytes, file, { hotExperts });
    if (said.join() !== tokens.join()) throw new BrokenPromise("other tokens than without a profile");
  },
};
