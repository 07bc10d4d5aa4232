/**
 * A page's private file system in a real Chromium: models come in whole or go on later, several tabs read them, and what a reader brings are the
 * file's own bytes.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter, openModelFile } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bundle } from "./bundle.js";
import { chromium } from "./capabilities.js";
import { launchChromium } from "./chromium.js";
import { openSite, type Site } from "./site.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const NAME = "opt-demo.gguf";

let dir: string;
let model: string;
let bytes: Uint8Array;
let site: Site;
let browser: Browser;
let context: BrowserContext;
let complaints: string[];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "flashwick-browser-"));
  model = join(dir, NAME);
  const folder = await openCheckpointFolder(demoModels["opt-demo"].checkpointDir);
  await convertCheckpoint(folder, async (spec) => await createModelWriter(await fileSink(model), spec));
  bytes = readFileSync(model);
  site = await openSite();
  site.serve("/", "text/html", readFileSync(here("test-page.html"), "utf8"));
  site.serve("/page-worker.js", "text/javascript", await bundle(here("page-worker.ts")));
  const worker = here("../../../packages/flash-io/src/opfs/opfs-reader-worker.js");
  site.serve("/opfs-reader-worker.js", "text/javascript", await bundle(worker));
  site.serveFile(`/${NAME}`, model);
  browser = await launchChromium();
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await site?.close();
  rmSync(dir, { recursive: true });
});
beforeEach(async () => {
  Object.assign(site, { isolated: true, cutAfterBytes: Number.POSITIVE_INFINITY, version: "1" });
  complaints = [];
  context = await browser.newContext();
});
afterEach(async () => {
  await context.close();
  expect(complaints).toEqual([]);
});

async function openPage(): Promise<Page> {
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on(
    "console",
    (message) =>
      message.type() === "error" && !/Failed to load resource/.test(message.text()) && complaints.push(message.text()),
  );
  await page.goto(site.origin);
  return page;
}

// biome-ignore lint/suspicious/noExplicitAny: what a page answers is checked by the tests.
async function call(page: Page, name: string, args: object = {}): Promise<any> {
  return await page.evaluate(
    ([name, args]) => (window as unknown as { call(name: string, args: object): Promise<object> }).call(name, args),
    [name, args] as const,
  );
}
const importDemo = (page: Page, more: object = {}) =>
  call(page, "importUrl", { url: `${site.origin}/${NAME}`, name: NAME, tries: 1, ...more });
const listed = async (page: Page) => (await call(page, "state")).result.models;

function sumAt(offset: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum = (Math.imul(sum, 31) + bytes[offset + i]!) >>> 0;
  return sum;
}

function checkSums(sums: readonly (readonly [number, number])[], stride: number): void {
  expect(sums.length).toBeGreaterThan(100);
  for (const [offset, sum] of sums) expect([offset, sum]).toEqual([offset, sumAt(offset, stride)]);
}

describe.skipIf(chromium.isMissing)(chromium.title("the private file system of a page"), () => {
  it("imports by range requests, checks every byte, lists, and is there after a reload", async () => {
    const page = await openPage();
    const { result, error } = await importDemo(page);
    expect(error).toBeUndefined();
    expect(result.model).toMatchObject({ name: NAME, sizeBytes: bytes.length, complete: true });
    await page.reload();
    expect(await listed(page)).toMatchObject([{ name: NAME, complete: true, sizeBytes: bytes.length }]);
    const inspected = await call(page, "inspect", { name: NAME });
    const source = await fileSource(model);
    const { header } = await openModelFile(source).finally(() => source.close());
    expect(inspected.result).toEqual({ nLayers: 8, fingerprint: header.fingerprint });
    expect((await importDemo(page)).error.code).toBe("IO_EXISTS");
    await call(page, "remove", { name: NAME });
    expect(await listed(page)).toEqual([]);
  });

  it.each([
    ["workers that read into shared memory", true, 8],
    ["the calling worker, where memory cannot be shared", false, undefined],
    ["the calling worker, which suits a small file", true, undefined],
  ] as const)("a reader brings the file's own bytes: %s", async (_, isolated, readers) => {
    site.isolated = isolated;
    const page = await openPage();
    await importDemo(page);
    const { result, error } = await call(page, "read", { name: NAME, seed: 3, count: 64, stride: 1024, readers });
    expect(error).toBeUndefined();
    expect(result.readers).toBe(readers ?? 0);
    expect(result.fallback === null).toBe(isolated);
    checkSums(result.sums, 1024);
  });

  it("refuses workers without isolation, and says which headers do it", async () => {
    site.isolated = false;
    const page = await openPage();
    await importDemo(page);
    const { error } = await call(page, "read", { name: NAME, seed: 3, count: 8, stride: 1024, readers: 4 });
    expect(error).toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    expect(error.message).toContain("Cross-Origin-Embedder-Policy");
  });

  it.each([0, 4])("a read beyond the end is named, and the next is well: %i readers", async (readers) => {
    const page = await openPage();
    await importDemo(page);
    const { result } = await call(page, "readPastEnd", { name: NAME, readers });
    expect(result).toEqual({ code: "FORMAT_TRUNCATED", sum: sumAt(0, 512) });
  });

  it("goes on after a cut network, and after an abort", async () => {
    const page = await openPage();
    site.cutAfterBytes = 9 * 2 ** 20;
    const cut = await importDemo(page);
    expect(cut.error.code).toBe("IO_READ");
    expect(await listed(page)).toMatchObject([{ name: NAME, complete: false, totalBytes: bytes.length }]);
    site.cutAfterBytes = Number.POSITIVE_INFINITY;
    const aborted = await importDemo(page, { abortAfter: 12 * 2 ** 20 });
    expect(aborted.error.message).toBe("enough");
    const { result } = await importDemo(page);
    expect(result.firstProgress).toBeGreaterThan(12 * 2 ** 20);
    checkSums((await call(page, "read", { name: NAME, seed: 5, count: 64, stride: 1024 })).result.sums, 1024);
  });

  it("begins anew when the file has changed on the server meanwhile", async () => {
    const page = await openPage();
    await importDemo(page, { abortAfter: 5 * 2 ** 20 });
    site.version = "2";
    const { result } = await importDemo(page);
    expect(result.firstProgress).toBeLessThanOrEqual(4 * 2 ** 20);
  });

  it("drops what is damaged, and keeps the name free", async () => {
    const damaged = join(dir, "damaged.gguf");
    const copy = Uint8Array.from(bytes);
    copy[bytes.length - 5000]! ^= 4;
    writeFileSync(damaged, copy);
    site.serveFile("/damaged.gguf", damaged);
    const page = await openPage();
    const { error } = await call(page, "importUrl", { url: `${site.origin}/damaged.gguf`, name: NAME });
    expect(error.message).toContain("damaged");
    expect(await listed(page)).toMatchObject([{ name: NAME, complete: false, sizeBytes: 0 }]);
    expect((await importDemo(page)).result.model.complete).toBe(true);
  });

  it("says what is needed when the quota is reached, and goes on once there is room", async () => {
    const page = await openPage();
    const cdp = await context.newCDPSession(page);
    await cdp.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: 8 * 2 ** 20 });
    const { error } = await importDemo(page);
    expect(error.code).toBe("IO_NO_SPACE");
    expect(error.message).toMatch(/more bytes are needed.*are used/);
    expect(error.details.neededBytes).toBeGreaterThan(6 * 2 ** 20);
    expect(await listed(page)).toMatchObject([{ complete: false }]);
    await cdp.send("Storage.overrideQuotaForOrigin", { origin: site.origin });
    expect((await importDemo(page)).result.model.complete).toBe(true);
  });

  it("a tab closed half-way leaves an import that another tab finishes", async () => {
    const first = await openPage();
    site.cutAfterBytes = Number.POSITIVE_INFINITY;
    void importDemo(first).catch(() => {});
    await first.waitForFunction(() => (window as unknown as { progress: number[] }).progress.length > 0);
    await first.close();
    const second = await openPage();
    const before = await listed(second);
    const { result, error } = await importDemo(second);
    // The first may have ended in the very moment in which it was closed.
    if (before[0].complete) expect(error.code).toBe("IO_EXISTS");
    else expect(result.model.complete).toBe(true);
    checkSums(
      (await call(second, "read", { name: NAME, seed: 7, count: 64, stride: 1024, readers: 4 })).result.sums,
      1024,
    );
  });

  it("two tabs read one model; a second import of the same name says why not", async () => {
    const [a, b] = [await openPage(), await openPage()];
    await importDemo(a);
    const read = (page: Page, seed: number) =>
      call(page, "read", { name: NAME, seed, count: 64, stride: 1024, readers: 4 });
    for (const { result } of await Promise.all([read(a, 1), read(b, 2)])) checkSums(result.sums, 1024);
    await call(a, "remove", { name: NAME });
    const both = await Promise.all([importDemo(a), importDemo(b)]);
    const codes = both.map(({ error }) => error?.code ?? "done").sort();
    expect(codes[1]).toBe("done");
    expect(["IO_WRITE", "IO_EXISTS"]).toContain(codes[0]);
  });

  it("inspects a model on a web server without importing it", async () => {
    const page = await openPage();
    expect((await call(page, "inspectUrl", { url: `${site.origin}/${NAME}` })).result.nLayers).toBe(8);
    expect(await listed(page)).toEqual([]);
  });
});
