/** `pull`, and `plan` of what is on a hub, against a hub on this machine. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { devicePreset } from "@flashwick/cost-model";
import { keepProfile } from "@flashwick/runtime/node/estimate";
import { type HubServer, sha256, startHub } from "@flashwick/test-capabilities/hub-server";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { flashwick, flashwickJson, makeWorkplace, type TerminalOptions } from "./tiny-checkpoint.fixture.js";

const fixtures = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/", import.meta.url));
const fixture = (name: string) => ({ bytes: new Uint8Array(readFileSync(join(fixtures, name))) });
const COMMIT = "c".repeat(40);
const TOKEN = "hf_very-secret";
const split = [1, 2, 3].map((number) => `falcon-7b-0000${number}-of-00003.gguf`);

let hub: HubServer;
let work: ReturnType<typeof makeWorkplace>;
beforeAll(async () => {
  hub = await startHub();
  work = makeWorkplace();
  const revisions = { main: COMMIT };
  const serve = (name: string, files: readonly (readonly [string, { readonly bytes: Uint8Array }])[], more = {}) =>
    hub.repositories.set(name, { revisions, files: new Map(files), ...more });
  serve("tiny/one", [
    ["README.md", { bytes: new Uint8Array(9) }],
    ["qwen2.gguf", fixture("qwen2.gguf")],
  ]);
  serve("tiny/secret", [["qwen2.gguf", fixture("qwen2.gguf")]], { token: TOKEN });
  serve("tiny/several", [
    ["qwen2.gguf", fixture("qwen2.gguf")],
    ["llama.gguf", fixture("llama.gguf")],
    ["noise.gguf", { bytes: new Uint8Array(5000).fill(7) }],
    ...split.map((name) => [`falcon/${name}`, fixture(name)] as const),
  ]);
  const checkpoint = readdirSync(work.checkpoint).map(
    (name) => [name, { bytes: new Uint8Array(readFileSync(join(work.checkpoint, name))) }] as const,
  );
  serve("tiny/opt", checkpoint);
  serve("tiny/unknown", [
    ["config.json", { bytes: new TextEncoder().encode('{"model_type":"mamba"}') }],
    ["model.safetensors", { bytes: new Uint8Array(5000) }],
  ]);
});
afterAll(async () => {
  rmSync(work.dir, { recursive: true });
  await hub.close();
});

let dir: string;
beforeEach(() => {
  hub.reset();
  dir = mkdtempSync(join(tmpdir(), "flashwick-pull-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

const env = () => ({ HF_ENDPOINT: hub.endpoint, HF_HOME: join(dir, "hf") });
const PRESET = ["--preset", "nvme-pcie4"];
const pull = (...argv: string[]) => flashwickJson(["pull", ...argv, "-o", dir, ...PRESET], { env: env() });
const pullText = (argv: readonly string[], options: TerminalOptions = {}) =>
  flashwick(["pull", ...argv, "-o", dir, ...PRESET], { env: env(), ...options });
/** Bytes that were asked of the store, openings apart. */
const askedBytes = () =>
  hub.seen
    .map(({ range }) => /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [])
    .reduce((sum, [, from, to]) => sum + (from === undefined ? 0 : Number(to) - Number(from) + 1), 0);

describe("pull", () => {
  it("fetches the only model of a repository, checked and pinned, and says what it will do here", async () => {
    const { status, document, err } = await pull("tiny/one");
    expect([status, readdirSync(dir)]).toEqual([0, ["qwen2.gguf"]]);
    const { bytes } = fixture("qwen2.gguf");
    expect(document).toMatchObject({
      model: join(dir, "qwen2.gguf"),
      bytes: bytes.length,
      revision: COMMIT,
      sha256: sha256(bytes),
      files: [{ path: "qwen2.gguf", from: "hub", fetchedBytes: bytes.length, sha256: sha256(bytes) }],
      plan: { fits: true, model: "tiny/one/qwen2.gguf", dtype: "q4_0" },
    });
    expect(document.seconds).toBeGreaterThan(0);
    expect(err).toMatch(/tiny\/one\/qwen2\.gguf .*needs at least .* of DRAM; .* tokens\/s are expected/);
    expect(Buffer.compare(readFileSync(join(dir, "qwen2.gguf")), bytes)).toBe(0);
  });

  it("plans from the header what plan does from the whole file, and leaves nothing on the disk", async () => {
    const budget = ["--dram-budget", "4MiB", ...PRESET];
    const remote = await pull("tiny/one", "--plan", "--dram-budget", "4MiB");
    expect([remote.status, readdirSync(dir)]).toEqual([0, []]);
    const here = await flashwickJson(["plan", join(fixtures, "qwen2.gguf"), ...budget]);
    expect({ ...remote.document, model: "" }).toEqual({ ...here.document, model: "" });
    const named = await flashwickJson(["plan", "tiny/one/qwen2.gguf", ...budget], { env: env() });
    expect(named.document).toEqual(remote.document);
  });

  it("plans by a brief profile where none is kept, says so, and finds it the next time", async () => {
    vi.stubEnv("FLASHWICK_CACHE_DIR", join(dir, "cache"));
    const argv = ["pull", "tiny/one", "-o", join(dir, "yet", "to", "come"), "--plan", "--dram-budget", "4MiB"];
    const first = await flashwickJson(argv, { env: env() });
    expect(first.document.device).toMatch(/measured within a second$/);
    expect(first.document.tokensPerSec).toBeGreaterThan(0);
    expect(first.err).toMatch(
      /^note: no profile .* is kept, so the plan is by one that was measured within a second; run flashwick profile/m,
    );
    expect(readdirSync(dir)).toEqual(["cache"]);
    // The same figures exactly: nothing was measured again.
    expect((await flashwickJson(argv, { env: env() })).document).toEqual(first.document);
    const planned = await flashwickJson(["plan", "tiny/one/qwen2.gguf", "--dram-budget", "4MiB"], { env: env() });
    expect(planned.document.device).toBe(first.document.device);
    expect(planned.err).toContain("measured within a second");
  });

  it("plans by a profile that somebody measured before a brief one, without a note", async () => {
    vi.stubEnv("FLASHWICK_CACHE_DIR", join(dir, "cache"));
    keepProfile(dir, devicePreset("sata-ssd"), new Date());
    const { document, err } = await flashwickJson(["pull", "tiny/one", "-o", dir, "--plan"], { env: env() });
    expect([document.device, err]).toEqual([devicePreset("sata-ssd").name, ""]);
  });

  it("says with status 1 that a plan does not fit, and with which budget it would", async () => {
    const { status, document } = await pull("tiny/one", "--plan", "--dram-budget", "1KiB");
    expect([status, document.fits]).toEqual([1, false]);
    const fitting = await pull("tiny/one", "--plan", "--dram-budget", `${document.smallestBudgetBytes}`);
    expect(fitting.document.fits).toBe(true);
  });

  it("lists the models of a repository with sizes and plans where none is named, with status 2", async () => {
    const { status, document } = await pull("tiny/several");
    expect([status, readdirSync(dir), document.error.code]).toEqual([2, [], "USAGE"]);
    const { files } = document.error.details;
    expect(files.map(({ file }: { file: string }) => file)).toEqual([
      `falcon/${split[0]}`,
      "llama.gguf",
      "noise.gguf",
      "qwen2.gguf",
    ]);
    expect(files[0].bytes).toBe(split.reduce((sum, name) => sum + fixture(name).bytes.length, 0));
    expect(files[3]).toMatchObject({ bytes: fixture("qwen2.gguf").bytes.length, fits: true, refusal: null });
    const plan = await pull("tiny/several/qwen2.gguf", "--plan");
    expect(files[3].smallestBudgetBytes).toBe(plan.document.smallestBudgetBytes);
    expect(files[3].tokensPerSec).toBeCloseTo(plan.document.tokensPerSec, 6);
    expect(files[2]).toMatchObject({ smallestBudgetBytes: null, refusal: expect.stringContaining("GGUF") });
    const { err } = await pullText(["tiny/several"]);
    expect(err).toMatch(/has 4 models; name the one that you want: flashwick pull tiny\/several\/<file>/);
    expect(err).toMatch(/noise\.gguf +4\.88 KiB +does not run here/);
  });

  it.each([`tiny/several/falcon/${split[1]}`, "tiny/several/falcon"])(
    "fetches a split model whole for %s, which then runs",
    async (what) => {
      const { status, document } = await pull(what);
      expect([status, readdirSync(dir)]).toEqual([0, split]);
      expect([document.sha256, document.files.length]).toEqual([null, 3]);
      const run = await flashwickJson(["run", document.model, "--tokens", "1,2", "--max-tokens", "1", "--quiet"]);
      expect(run.status).toBe(0);
    },
  );

  it("fetches of a checkpoint what convert reads, into a folder that it takes", async () => {
    const planned = await pull("tiny/opt", "--plan");
    expect(planned.document).toMatchObject({ model: "tiny/opt", dtype: expect.any(String) });
    expect(askedBytes()).toBeLessThan(20_000);
    const { status, document } = await pull("tiny/opt");
    expect([status, document.model]).toEqual([0, join(dir, "opt")]);
    const convert = async (from: string, name: string) => {
      const converted = await flashwickJson(["convert", from, "-o", join(dir, name), "--quiet"]);
      expect(converted.status).toBe(0);
      return { fingerprint: converted.document.fingerprint, tokenizer: converted.document.tokenizer };
    };
    expect(await convert(document.model, "pulled.gguf")).toEqual(await convert(work.checkpoint, "local.gguf"));
  });

  it("refuses what does not run here before it is fetched", async () => {
    const { status, document } = await pull("tiny/unknown");
    expect([status, document.error.code, readdirSync(dir)]).toEqual([1, "UNSUPPORTED_ARCHITECTURE", []]);
  });

  it("stops on Ctrl-C with 130, says what it keeps, and goes on from there", async () => {
    const stop = new AbortController();
    Object.assign(hub.faults, { passes: 1, holds: 1, heldAfter: 400_000 });
    const argv = ["tiny/one"];
    const watch = setInterval(() => {
      if (existsSync(join(dir, "qwen2.gguf.partial"))) stop.abort(new DOMException("stopped", "AbortError"));
    }, 5);
    const { status, err } = await pullText(argv, { signal: stop.signal }).finally(() => clearInterval(watch));
    expect(status).toBe(130);
    expect(err).toMatch(/what was fetched is kept in .*qwen2\.gguf\.partial; the same command goes on from it/);
    expect(existsSync(join(dir, "qwen2.gguf"))).toBe(false);
    hub.reset();
    const { document } = await pull(...argv);
    expect(document.sha256).toBe(sha256(fixture("qwen2.gguf").bytes));
    expect(readdirSync(dir)).toEqual(["qwen2.gguf"]);
  });

  it("fetches nothing the second time, and replaces another file only with --force", async () => {
    await pull("tiny/one");
    expect((await pull("tiny/one")).document.files[0]).toMatchObject({ from: "disk", fetchedBytes: 0 });
    writeFileSync(join(dir, "qwen2.gguf"), "mine");
    expect((await pull("tiny/one")).document.error.code).toBe("IO_EXISTS");
    expect((await pull("tiny/one", "--force")).document.files[0].from).toBe("hub");
  });

  it("reads a private repository with HF_TOKEN, and says it to nobody", async () => {
    const refused = await pull("tiny/secret");
    expect(refused.document.error).toMatchObject({
      code: "IO_NOT_FOUND",
      message: expect.stringContaining("HF_TOKEN"),
    });
    const outcome = await pullText(["tiny/secret", "--debug"], { env: { ...env(), HF_TOKEN: TOKEN } });
    expect(outcome.status).toBe(0);
    expect(outcome.out + outcome.err).not.toContain(TOKEN);
    const toStore = hub.seen.filter(({ server }) => server === "store");
    expect(toStore.length).toBeGreaterThan(0);
    expect(toStore.filter(({ authorization }) => authorization !== null)).toEqual([]);
  });

  it("takes the endpoint that is named before the environment's", async () => {
    const { status } = await pullText(["tiny/one", "--endpoint", `${hub.endpoint}/`], {
      env: { HF_ENDPOINT: "http://127.0.0.1:1" },
    });
    expect(status).toBe(0);
  });

  it("says what to do when the bytes are not what the hub lists", async () => {
    hub.faults.damage = (bytes) => bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
    const { status, document } = await pull("tiny/one");
    expect([status, document.error.code, readdirSync(dir)]).toEqual([1, "INTEGRITY_DOWNLOAD", []]);
    expect(document.error.message).toMatch(/expected the sha256 [0-9a-f]{64} .* pull it again/);
  });

  it("is wrong usage without an address of a model", async () => {
    for (const what of ["../x", "a/b/../c", "https://huggingface.co/a/b"]) expect((await pull(what)).status).toBe(2);
    expect((await pull("tiny/one", "--endpoint", "nowhere")).document.error.code).toBe("INPUT_INVALID");
    expect((await pull("tiny/one/absent.gguf")).document.error).toMatchObject({
      code: "IO_NOT_FOUND",
      details: { gguf: ["qwen2.gguf"] },
    });
  });
});
