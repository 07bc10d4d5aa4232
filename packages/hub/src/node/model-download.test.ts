/** Downloads from a hub on this machine: whole, interrupted at any byte, changed, damaged, refused; what is on the disk after each. */
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Random } from "@flashwick/core";
import { capability } from "@flashwick/test-capabilities";
import { type HubServer, sha256, startHub } from "@flashwick/test-capabilities/hub-server";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findModels } from "../hub-models.js";
import { openRepository } from "../hub-repository.js";
import { hubEnvironment } from "./hub-environment.js";
import { downloadModel, localPath, type ModelDownloadOptions } from "./model-download.js";

const random = new Random(7);
const noise = (sizeBytes: number) => Uint8Array.from({ length: sizeBytes }, () => random.below(256));
const model = noise(300_000);
const config = new TextEncoder().encode('{"model_type":"opt"}');
const COMMIT = "a".repeat(40);
const parts = ["s-00001-of-00002.gguf", "s-00002-of-00002.gguf"] as const;

let hub: HubServer;
beforeAll(async () => {
  hub = await startHub();
  const revisions = { main: COMMIT };
  hub.repositories.set("owner/name", {
    revisions,
    files: new Map([
      ["Q4/model.gguf", { bytes: model }],
      ["Q4/model.predictor.gguf", { bytes: noise(1000) }],
      ...parts.map((path) => [path, { bytes: noise(5000) }] as const),
    ]),
  });
  hub.repositories.set("owner/opt-tiny", {
    revisions,
    files: new Map([
      ["config.json", { bytes: config }],
      ["merges.txt", { bytes: new Uint8Array(0) }],
      ["pytorch_model.bin", { bytes: noise(2000) }],
    ]),
  });
});
afterAll(() => hub.close());

let folder: string;
let path: string;
beforeEach(() => {
  hub.reset();
  folder = mkdtempSync(join(tmpdir(), "flashwick-hub-"));
  path = join(folder, "model.gguf");
});
afterEach(() => rmSync(folder, { recursive: true }));

const withoutPause = async () => {};

async function pull(
  inside: string | null = "Q4/model.gguf",
  options: Partial<ModelDownloadOptions> = {},
  name = "owner/name",
) {
  const { signal } = options;
  const repository = await openRepository(name, { endpoint: hub.endpoint, pause: withoutPause, signal });
  const [found] = findModels(repository, inside);
  return await downloadModel(repository, found!, folder, { cacheFolder: null, ...options });
}

const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("nothing was thrown"),
    (error: unknown) => error as Error & { code: string; details: Record<string, unknown> },
  );
/** What a download of `content` has left. */
function leave(bytes: Uint8Array, content: Uint8Array): void {
  writeFileSync(`${path}.partial`, bytes);
  note(content);
}
function note(content: Uint8Array): void {
  writeFileSync(`${path}.partial.journal`, `${JSON.stringify({ content: `sha256 ${sha256(content)}` })}\n`);
}
const isModel = () => Buffer.compare(readFileSync(path), model) === 0;
const names = () => readdirSync(folder).sort();
/** Ranges of the model's bytes that the store was asked for, beyond the first few. */
const ranges = () =>
  hub.seen
    .filter(
      (seen) => seen.server === "store" && seen.path.startsWith(`/${sha256(model)}`) && seen.range !== "bytes=0-7",
    )
    .map(({ range }) => range);

describe("a download", () => {
  it("puts a GGUF and what lies beside it into the folder, checked, and nothing else", async () => {
    const progress: number[] = [];
    const files = await pull("Q4/model.gguf", { onProgress: ({ loaded }) => progress.push(loaded) });
    expect(names()).toEqual(["model.gguf", "model.predictor.gguf"]);
    expect(isModel()).toBe(true);
    expect(files[0]).toEqual({
      path: "Q4/model.gguf",
      file: path,
      bytes: model.length,
      sha256: sha256(model),
      from: "hub",
      fetchedBytes: model.length,
    });
    expect(ranges()).toEqual(["bytes=0-299999"]);
    expect(progress.at(-1)).toBe(301_000);
    expect([...progress].sort((a, b) => a - b)).toEqual(progress);
  });

  it("brings a split model whole", async () => {
    expect((await pull(parts[1])).map((file) => file.path)).toEqual(parts);
    expect(names()).toEqual([...parts]);
  });

  it("gives a checkpoint a folder of its own; files outside of LFS are checked by git's name, empty ones too", async () => {
    const files = await pull(null, {}, "owner/opt-tiny");
    expect(names()).toEqual(["opt-tiny"]);
    expect(readdirSync(join(folder, "opt-tiny")).sort()).toEqual(["config.json", "merges.txt", "pytorch_model.bin"]);
    expect(files.map((file) => file.sha256)).toContain(sha256(config));
  });

  it("fetches nothing of what is there already", async () => {
    await pull();
    hub.reset();
    const files = await pull();
    expect(files.map(({ from, fetchedBytes }) => [from, fetchedBytes])).toEqual([
      ["disk", 0],
      ["disk", 0],
    ]);
    expect(files[0]!.sha256).toBe(sha256(model));
    expect(ranges()).toEqual([]);
  });

  it("left the journal of a download that was killed after its last rename, in every later call", async () => {
    await pull();
    writeFileSync(`${path}.partial.journal`, "{}\n");
    await pull();
    expect(names()).not.toContain(`${basename(path)}.partial.journal`);
  });

  it("refuses another file of this name, and replaces it when told to", async () => {
    writeFileSync(path, "mine");
    expect(await refusal(pull())).toMatchObject({ code: "IO_EXISTS" });
    expect(readFileSync(path, "utf8")).toBe("mine");
    await pull("Q4/model.gguf", { force: true });
    expect(isModel()).toBe(true);
  });
});

describe("an interrupted download", () => {
  it("goes on by itself after cut connections, from the byte that was reached", async () => {
    Object.assign(hub.faults, { heldAfter: 100_000, holds: 2 });
    const onProgress = ({ loaded }: { loaded: number }) => loaded % 100_000 === 0 && hub.breakHeld();
    await pull("Q4/model.gguf", { onProgress });
    expect(isModel()).toBe(true);
    expect(ranges()).toEqual(["bytes=0-299999", "bytes=100000-299999", "bytes=200000-299999"]);
  });

  it("is given up after a few tries without a byte, keeps what it has, and goes on in the next call", async () => {
    Object.assign(hub.faults, { heldAfter: 100_000, holds: 1 });
    const onProgress = ({ loaded }: { loaded: number }) => {
      if (loaded < 100_000) return;
      hub.faults.store = Array(99).fill(0);
      hub.breakHeld();
    };
    expect(await refusal(pull("Q4/model.gguf", { onProgress }))).toMatchObject({ code: "IO_READ" });
    expect(names()).toEqual(["model.gguf.partial", "model.gguf.partial.journal"]);
    expect(JSON.parse(readFileSync(`${path}.partial.journal`, "utf8"))).toEqual({
      repository: "owner/name",
      commit: COMMIT,
      path: "Q4/model.gguf",
      sizeBytes: model.length,
      content: `sha256 ${sha256(model)}`,
    });
    hub.reset();
    const [file] = await pull();
    expect(file).toMatchObject({ from: "hub", fetchedBytes: 200_000, sha256: sha256(model) });
    expect(ranges()).toEqual(["bytes=100000-299999"]);
    expect(isModel()).toBe(true);
    expect(names()).toEqual(["model.gguf", "model.predictor.gguf"]);
  });

  it("stops with the signal's own reason, and goes on in the next call", async () => {
    const stop = new AbortController();
    Object.assign(hub.faults, { heldAfter: 150_000, holds: 1 });
    const onProgress = ({ loaded }: { loaded: number }) => loaded === 150_000 && stop.abort(new Error("enough"));
    expect(await refusal(pull("Q4/model.gguf", { onProgress, signal: stop.signal }))).toBe(stop.signal.reason);
    expect(existsSync(path)).toBe(false);
    expect(statSync(`${path}.partial`).size).toBe(150_000);
    hub.reset();
    expect((await pull())[0]!.fetchedBytes).toBe(150_000);
    expect(isModel()).toBe(true);
  });

  it("that lacks only its name is not fetched again", async () => {
    leave(model, model);
    const [file] = await pull();
    expect(file).toMatchObject({ fetchedBytes: 0, sha256: sha256(model) });
    expect(isModel()).toBe(true);
  });

  it("of another content begins anew", async () => {
    leave(noise(120_000), noise(4));
    const [file] = await pull();
    expect(file!.fetchedBytes).toBe(model.length);
    expect(isModel()).toBe(true);
  });

  it("whose note is half written begins anew", async () => {
    writeFileSync(`${path}.partial`, model.subarray(0, 1000));
    writeFileSync(`${path}.partial.journal`, '{"content":"sha2');
    expect((await pull())[0]!.fetchedBytes).toBe(model.length);
    expect(isModel()).toBe(true);
  });

  it("whose bytes a loss of power had made zeros was refused, and whole only in the call after that; now it is fetched anew at once", async () => {
    const zeros = model.slice(0, 120_000).fill(0, 60_000);
    leave(zeros, model);
    const [file] = await pull();
    expect(file).toMatchObject({ from: "hub", sha256: sha256(model), fetchedBytes: 2 * model.length - zeros.length });
    expect(isModel()).toBe(true);
  });

  it("whose bytes were damaged is fetched anew once: nothing is kept if that is damaged, too", async () => {
    leave(model.slice(0, 120_000).fill(0, 60_000), model);
    hub.faults.damage = (bytes) => bytes.map((byte, i) => (i === 250_000 ? byte ^ 4 : byte));
    expect(await refusal(pull())).toMatchObject({ code: "INTEGRITY_DOWNLOAD" });
    expect(names()).toEqual([]);
  });
});

describe("a store that sends something else", () => {
  it("is found out by the SHA-256: nothing has the final name, and nothing is kept", async () => {
    hub.faults.damage = (bytes) => bytes.map((byte, i) => (i === 250_000 ? byte ^ 4 : byte));
    expect(await refusal(pull())).toMatchObject({
      code: "INTEGRITY_DOWNLOAD",
      details: { expected: sha256(model), file: "Q4/model.gguf" },
    });
    expect(names()).toEqual([]);
  });

  it("is found out by its ETag where it changes between two requests", async () => {
    Object.assign(hub.faults, { heldAfter: 100_000, holds: 1 });
    const onProgress = ({ loaded }: { loaded: number }) => {
      if (loaded < 100_000) return;
      hub.faults.etag = '"another"';
      hub.breakHeld();
    };
    expect(await refusal(pull("Q4/model.gguf", { onProgress }))).toMatchObject({ code: "IO_FILE_CHANGED" });
    expect(existsSync(path)).toBe(false);
  });

  it("is found out by its length before anything is written", async () => {
    hub.faults.sizeOff = -5;
    expect(await refusal(pull())).toMatchObject({ code: "INTEGRITY_DOWNLOAD" });
    expect(names()).toEqual([]);
  });
});

describe("the disk", () => {
  it("is asked for room first: nothing is fetched where it has too little for all files", async () => {
    const freeBytes = async () => 300_999;
    expect(await refusal(pull("Q4/model.gguf", { freeBytes }))).toMatchObject({
      code: "IO_NO_SPACE",
      details: { neededBytes: 301_000, freeBytes: 300_999 },
    });
    expect([names(), ranges()]).toEqual([[], []]);
    writeFileSync(path, model);
    expect(await pull("Q4/model.gguf", { freeBytes: async () => 1000 })).toHaveLength(2);
  });

  const fullDevice = capability("linux", existsSync("/dev/full") ? null : "there is no /dev/full");
  it.skipIf(fullDevice.isMissing)(
    fullDevice.title("that is full is said, and nothing has the final name"),
    async () => {
      symlinkSync("/dev/full", `${path}.partial`);
      note(model);
      expect(await refusal(pull())).toMatchObject({ code: "IO_NO_SPACE" });
      expect(existsSync(path)).toBe(false);
    },
  );

  it("that cannot have the folder is said", async () => {
    writeFileSync(join(folder, "file"), "");
    folder = join(folder, "file");
    try {
      expect(await refusal(pull())).toMatchObject({ code: "IO_WRITE" });
    } finally {
      folder = join(folder, "..");
    }
  });
});

describe("the hub's cache", () => {
  const blobs = () => join(folder, "cache/models--owner--name/blobs");
  function cache(bytes: Uint8Array): string {
    mkdirSync(blobs(), { recursive: true });
    const blob = join(blobs(), sha256(model));
    writeFileSync(blob, bytes);
    return blob;
  }

  it("gives what it has: one file under two names, fetched by nobody", async () => {
    const blob = cache(model);
    const [file] = await pull("Q4/model.gguf", { cacheFolder: join(folder, "cache") });
    expect(file).toMatchObject({ from: "cache", fetchedBytes: 0, sha256: sha256(model) });
    expect(statSync(path).ino).toBe(statSync(blob).ino);
    expect(ranges()).toEqual([]);
  });

  it("gives a snapshot's file, through its link", async () => {
    const elsewhere = join(folder, "elsewhere");
    writeFileSync(elsewhere, model);
    const snapshot = join(folder, "cache/models--owner--name/snapshots", COMMIT, "Q4");
    mkdirSync(snapshot, { recursive: true });
    symlinkSync(elsewhere, join(snapshot, "model.gguf"));
    const [file] = await pull("Q4/model.gguf", { cacheFolder: join(folder, "cache") });
    expect(file!.from).toBe("cache");
    expect(isModel()).toBe(true);
    expect(statSync(path).ino).toBe(statSync(elsewhere).ino);
  });

  it("left a temporary name where two calls took the same file at once", async () => {
    cache(model);
    const wish = { cacheFolder: join(folder, "cache") };
    const calls = await Promise.allSettled([1, 2, 3, 4].map(() => pull("Q4/model.gguf", wish)));
    const refused = calls.flatMap((call) => (call.status === "rejected" ? [call.reason.code] : []));
    expect([isModel(), existsSync(`${path}.partial`)]).toEqual([true, false]);
    expect(refused.filter((code) => code !== "IO_BUSY")).toEqual([]);
  });

  it("was emptied by a download after one that was killed between its link and its name", async () => {
    const blob = cache(model);
    linkSync(blob, `${path}.partial`);
    const [file] = await pull("Q4/model.gguf", { cacheFolder: null });
    expect([file!.from, isModel()]).toEqual(["hub", true]);
    expect(Buffer.compare(readFileSync(blob), model)).toBe(0);
  });

  it("is not believed where its bytes are damaged, and not written", async () => {
    const damaged = model.map((byte, i) => (i === 9 ? byte ^ 1 : byte));
    const blob = cache(damaged);
    const [file] = await pull("Q4/model.gguf", { cacheFolder: join(folder, "cache") });
    expect(file!.from).toBe("hub");
    expect(isModel()).toBe(true);
    expect(Buffer.compare(readFileSync(blob), damaged)).toBe(0);
  });

  it("is found where other programs look for it", () => {
    const cacheOf = (env: Record<string, string>) => hubEnvironment(env, "home").cacheFolder;
    expect(cacheOf({})).toBe("home/.cache/huggingface/hub");
    expect(cacheOf({ XDG_CACHE_HOME: "/c" })).toBe("/c/huggingface/hub");
    expect(cacheOf({ XDG_CACHE_HOME: "/c", HF_HOME: "/hf" })).toBe("/hf/hub");
    expect(cacheOf({ HF_HOME: "/hf", HF_HUB_CACHE: "/h" })).toBe("/h");
    expect(hubEnvironment({ HF_TOKEN: " t\n", HF_ENDPOINT: "" }, "/")).toMatchObject({ token: "t", endpoint: null });
  });
});

it("names the file or the folder that the next command takes", async () => {
  const repository = await openRepository("owner/opt-tiny", { endpoint: hub.endpoint });
  expect(localPath(findModels(repository, null)[0]!, "models")).toBe(join("models", "opt-tiny"));
});
