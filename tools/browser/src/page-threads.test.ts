/**
 * Compute threads of a page in a real Chromium: the conformance table in a worker on the reference, on one thread and on several; arenas that come and
 * go; and a model that gives the same tokens on one thread as on two.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MiB } from "@flashwick/core";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";
import { byteVectorCases, conformanceCases, titleOf } from "@flashwick/kernels/conformance";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bundle } from "./bundle.js";
import { chromium } from "./capabilities.js";
import { launchChromium } from "./chromium.js";
import { openSite, type Site } from "./site.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const sources = "../../../packages/kernels-wasm/src/browser/";

let site: Site;
let browser: Browser;
let context: BrowserContext;
let complaints: string[];

beforeAll(async () => {
  site = await openSite();
  const page = readFileSync(here("test-page.html"), "utf8");
  site.serve("/", "text/html", page);
  site.serve("/pool", "text/html", page.replace("/page-worker.js", "/page-pool.js"));
  site.serve("/page-worker.js", "text/javascript", await bundle(here("page-worker.ts")));
  site.serve("/page-pool.js", "text/javascript", await bundle(here(`${sources}page-pool.fixture.ts`)));
  // Beside the scripts that look for it, as a bundler puts it.
  site.serve("/page-compute-worker.js", "text/javascript", await bundle(here(`${sources}page-compute-worker.js`)));
  browser = await launchChromium();
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await site?.close();
});
beforeEach(async () => {
  site.isolated = true;
  complaints = [];
  context = await browser.newContext();
});
afterEach(async () => {
  await context.close();
  expect(complaints).toEqual([]);
});

async function openPage(path: string): Promise<Page> {
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) complaints.push(message.text());
  });
  await page.goto(`${site.origin}${path}`);
  return page;
}

// biome-ignore lint/suspicious/noExplicitAny: what a page answers is checked by the tests.
async function call(page: Page, name: string, args: object = {}): Promise<any> {
  return await page.evaluate(
    ([name, args]) => (window as unknown as { call(name: string, args: object): Promise<object> }).call(name, args),
    [name, args] as const,
  );
}

/** What of a renderer's memory is its own. */
async function largestRendererBytes(of: Browser): Promise<number> {
  const { processInfo } = await (await of.newBrowserCDPSession()).send("SystemInfo.getProcessInfo");
  const sizes = processInfo.map(({ type, id }) => {
    if (type !== "renderer") return 0;
    const status = readFileSync(`/proc/${id}/status`, "utf8");
    const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]);
    return 1024 * (kib("RssAnon") + kib("RssShmem"));
  });
  return Math.max(...sizes);
}

describe.skipIf(chromium.isMissing).each([
  ["the reference", 0],
  ["WebAssembly on one thread", 1],
  ["WebAssembly on 2 threads, everything split that can be", 2],
  ["WebAssembly on 4 threads, everything split that can be", 4],
])(chromium.title("in a worker of a page: %s"), (_, threads) => {
  let results: readonly { readonly title: string; readonly failure: string | null }[];
  beforeAll(async () => {
    context = await browser.newContext();
    const { result, error } = await call(await openPage("/pool"), "conformance", { threads });
    expect(error).toBeUndefined();
    results = result;
    await context.close();
  }, 400_000);

  it("ran every case", () => {
    expect(results.map(({ title }) => title)).toEqual(conformanceCases.map(titleOf));
  });
  it.each(conformanceCases.map((c) => [titleOf(c)]))("%s", (title) => {
    expect(results.find((result) => result.title === title)?.failure).toBeNull();
  });
});

describe.skipIf(chromium.isMissing)(chromium.title("in a worker of a page, with activations of eight bits"), () => {
  // What Node 20 cannot test: it has no relaxed SIMD.
  it.each([1, 2])(
    "the table holds on %i threads",
    async (threads) => {
      const { result, error } = await call(await openPage("/pool"), "conformance", { threads, activationBits: 8 });
      expect(error).toBeUndefined();
      const results: readonly { readonly title: string; readonly failure: string | null }[] = result;
      expect(results.map(({ title }) => title)).toEqual(byteVectorCases.map(titleOf));
      expect(results.filter(({ failure }) => failure !== null)).toEqual([]);
    },
    400_000,
  );
});

describe.skipIf(chromium.isMissing)(chromium.title("a compute pool in a page"), () => {
  it.each([2, 3, 5])("gives one thread's bits on %i, whoever computes what", async (threads) => {
    const { result } = await call(await openPage("/pool"), "sameBits", { threads, rounds: 3 });
    expect(result).toEqual([true, true, true]);
  });

  it("has every thread at work in arenas that come and go, though the caller never turns its event loop", async () => {
    const { result } = await call(await openPage("/pool"), "whoWorks", { threads: 4, rounds: 5 });
    expect(result).toEqual(Array(5).fill([true, true, true, true]));
  });

  it("lets go of a released arena, takes it in again, and refuses work once closed", async () => {
    const { result } = await call(await openPage("/pool"), "lifeOfAnArena");
    expect(result).toEqual(["done", "same", "DISPOSED", "done", "DISPOSED", "DISPOSED"]);
  });

  it("ends its workers", async () => {
    const page = await openPage("/pool");
    const cdp = await browser.newBrowserCDPSession();
    const workers = async () => {
      const { targetInfos } = await cdp.send("Target.getTargets");
      return targetInfos.filter(({ type, url }) => type === "worker" && url.endsWith("/page-compute-worker.js")).length;
    };
    expect((await call(page, "open", { threads: 4 })).result).toBe(4);
    await expect.poll(workers).toBe(3);
    await call(page, "close");
    await expect.poll(workers).toBe(0);
  });

  it("lets the memory of released arenas go, but perhaps of one", async () => {
    const collecting = await launchChromium(["--js-flags=--expose-gc"]);
    try {
      context = await collecting.newContext();
      const page = await openPage("/pool");
      await call(page, "open", { threads: 3 });
      const { error } = await call(page, "useAndRelease", { arenas: 4, sizeBytes: 128 * MiB });
      expect(error).toBeUndefined();
      // What the worker that computes still refers to is another matter.
      await call(page, "collectGarbage");
      await expect.poll(() => largestRendererBytes(collecting)).toBeLessThan(240 * MiB);
    } finally {
      await collecting.close();
    }
  });

  it("names what is missing without isolation, and on a page's main thread", async () => {
    const main = await openPage("/pool");
    await main.addScriptTag({ type: "module", url: "/page-pool.js" });
    const { error: onMain } = await main.evaluate(async () => {
      const { answerHere } = globalThis as unknown as { answerHere(command: object): Promise<{ error: object }> };
      return await answerHere({ name: "open", args: { threads: 2 } });
    });
    expect(onMain).toMatchObject({ code: "UNSUPPORTED_FEATURE", message: expect.stringContaining("dedicated worker") });
    site.isolated = false;
    const { error } = await call(await openPage("/pool"), "open", { threads: 2 });
    expect(error).toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    expect(error.message).toContain("Cross-Origin-Embedder-Policy");
  });

  it("says that a worker's script does not load", async () => {
    const { error } = await call(await openPage("/pool"), "openFrom", { address: "/nowhere.js" });
    expect(error).toMatchObject({ code: "THREAD_FAILED" });
    expect(error.message).toContain("compute thread 1 has no script");
  });

  it("fails every op once a worker has failed", async () => {
    const broken = `self.onmessage = ({ data }) => { if ("buffer" in data) { postMessage({ ready: true }); throw new Error("no such luck"); } };`;
    site.serve("/broken.js", "text/javascript", broken);
    const { error } = await call(await openPage("/pool"), "openFrom", { address: "/broken.js" });
    expect(error).toMatchObject({ code: "THREAD_FAILED" });
    expect(error.message).toContain("no such luck");
  });
});

describe.skipIf(chromium.isMissing)(chromium.title("a model in a page"), () => {
  const NAME = "opt-demo.gguf";
  let dir: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "flashwick-page-threads-"));
    const folder = await openCheckpointFolder(demoModels["opt-demo"].checkpointDir);
    const model = join(dir, NAME);
    await convertCheckpoint(folder, async (spec) => await createModelWriter(await fileSink(model), spec));
    site.serveFile(`/${NAME}`, model);
    site.serveFile("/opt-demo.predictor.gguf", demoModels["opt-demo"].predictorPath);
  }, 120_000);
  afterAll(() => rmSync(dir, { recursive: true }));

  async function decode(page: Page, options: object) {
    const { result, error } = await call(page, "decode", {
      ...{ name: NAME, prompt: "And the king said unto", count: 24, options },
    });
    expect(error).toBeUndefined();
    return result;
  }
  async function openWithModel(): Promise<Page> {
    const page = await openPage("/");
    for (const name of [NAME, "opt-demo.predictor.gguf"]) {
      const { error } = await call(page, "importUrl", { url: `${site.origin}/${name}`, name, verify: false });
      expect(error).toBeUndefined();
    }
    return page;
  }

  it("gives the same tokens, and the same logits bit for bit, on 1, 2 and 3 threads", async () => {
    const page = await openWithModel();
    for (const mode of ["predicted", "dense"]) {
      const one = await decode(page, { mode, threads: 1 });
      expect(one.threading.threads).toBe(1);
      for (const threads of [2, 3]) {
        const several = await decode(page, { mode, threads });
        expect(several.threading.threads).toBe(threads);
        expect(several.tokens).toEqual(one.tokens);
        expect(several.sums).toEqual(one.sums);
      }
    }
  });

  it("computes on one thread unasked where memory cannot be shared, and for small files", async () => {
    const isolated = await openWithModel();
    expect((await decode(isolated, {})).threading.threads).toBe(1);
    site.isolated = false;
    const page = await openPage("/");
    expect((await decode(page, {})).threading.threads).toBe(1);
    const { error } = await call(page, "decode", {
      ...{ name: NAME, prompt: "And", count: 1, options: { threads: 2 } },
    });
    expect(error).toMatchObject({ code: "UNSUPPORTED_FEATURE" });
  });
});
