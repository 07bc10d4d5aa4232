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
import { isFlashwickError } from "@flashwick/core";
import { DEVICE_PRESETS, devicePreset } from "@flashwick/cost-model";
import { crc32c, createModelWriter } from "@flashwick/flash-format";
import { convertCheckpoint, memoryFolder } from "@flashwick/flash-format/convert";
import { fileSink } from "@flashwick/flash-format/node";
import type { PrefixStore } from "@flashwick/runtime";
import { hotExpertsPath, keepProfile, openModel, openPrefixFolder, readKeptProfile } from "@flashwick/runtime/node";
import { BrokenPromise, bytesOf, type Harness, jsonBytes } from "../harness.js";
import { fixtureFolder } from "../repository-files.js";

const MiB = 2 ** 20;
const PAGE_BYTES = 96;
const HEADER_BYTES = 16;
/** What the folder may hold: some pages. */
const MOST_FOLDER_BYTES = 4 * (PAGE_BYTES + HEADER_BYTES);
/** Sparse: it takes no disk, and would take memory if it were read. */
const HUGE_BYTES = 1024 * MiB;
const KEYS = Array.from({ length: 6 }, (_, i) => `${i}`.repeat(64));

let scratch: string | null = null;
/** A folder of this process, empty. Removed when the process ends. */
function emptyFolder(name: string): string {
  if (scratch === null) {
    scratch = mkdtempSync(join(tmpdir(), "flashwick-fuzz-"));
    const made = scratch;
    process.once("exit", () => rmSync(made, { recursive: true, force: true }));
  }
  const folder = join(scratch, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  return folder;
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
  seeds: async () => [
    new Uint8Array(0),
    Uint8Array.from({ length: 48 }, (_, i) => i * 7),
    Uint8Array.from({ length: 96 }, (_, i) => (i * i) % 251),
  ],
  async read(input) {
    const script = new Script(input);
    const folder = emptyFolder("prefixes");
    const beside = emptyFolder("outside");
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
  },
};

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
  async seeds() {
    const folder = emptyFolder("profiles");
    keepProfile(folder, PROFILE, new Date(0), folder, "here");
    return [new Uint8Array(readFileSync(join(folder, readdirSync(folder)[0]!)))];
  },
  read(input) {
    const folder = emptyFolder("profiles");
    writeFileSync(join(folder, `profile-${statSync(folder).dev}.json`), input);
    const profile: unknown = readKeptProfile(folder, folder, "here");
    if (profile !== null && typeof profile !== "object") throw new BrokenPromise("a profile that is none");
  },
};

let mixture: Promise<{
  readonly path: string;
  readonly fingerprint: string;
  readonly tokens: readonly number[];
}> | null = null;
const PROMPT = [7, 30, 200];
const OPTIONS = { contextTokens: 16, dramBudgetBytes: 2 * MiB, readers: 0, threads: 1, profile: null } as const;

/** A tiny mixture on disk, and what it says without a profile. */
function openMixture() {
  mixture ??= (async () => {
    const path = join(emptyFolder("mixture"), "mixtral.gguf");
    const sink = await fileSink(path);
    await convertCheckpoint(memoryFolder(fixtureFolder("mixtral-tiny")), (spec) => createModelWriter(sink, spec));
    const { tokens, fingerprint } = await say(path, null);
    return { path, fingerprint, tokens };
  })();
  return mixture;
}

async function say(path: string, hotExperts: "auto" | null) {
  const model = await openModel(path, { ...OPTIONS, hotExperts });
  try {
    const run = model.generate(PROMPT, { maxTokens: 2, ignoreEos: true });
    for (;;) {
      const next = await run.next();
      if (next.done) return { tokens: next.value.tokens, fingerprint: model.header.fingerprint };
    }
  } finally {
    await model.close();
  }
}

/** The experts of a workload beside a mixture, which is opened and run: they are read first, and change no token. */
export const workloadProfile: Harness = {
  name: "workload-profile",
  form: "json",
  words: ["format", "flashwick.profile", "version", "fingerprint", "nUnits", "hottest"],
  maxBytes: 16 * 1024,
  limits: { ms: 1500, growthBytes: 64 * MiB },
  async seeds() {
    const { fingerprint } = await openMixture();
    const profile = { format: "flashwick.profile", version: 1, fingerprint, nUnits: 8 };
    return [
      jsonBytes({ ...profile, hottest: [[0, 2], [3]] }),
      jsonBytes({ ...profile, hottest: [[], [1, 0, 3, 2]] }),
      bytesOf("{}"),
    ];
  },
  async read(input) {
    const { path, tokens } = await openMixture();
    writeFileSync(hotExpertsPath(path), input);
    const said = await say(path, "auto");
    if (said.tokens.join() !== tokens.join()) throw new BrokenPromise("other tokens than without a profile");
  },
};
