/** The conformance table of readers on those of a page's private file system, in a real Chromium. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readerCases } from "@flashwick/flash-io/conformance";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle } from "./bundle.js";
import { chromium } from "./capabilities.js";
import { launchChromium } from "./chromium.js";
import { openSite, type Site } from "./site.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let browser: Browser;
let site: Site;
let page: Page;

beforeAll(async () => {
  if (chromium.isMissing) return;
  site = await openSite();
  site.isolated = true;
  site.serve("/", "text/html", readFileSync(here("test-page.html"), "utf8"));
  site.serve("/page-worker.js", "text/javascript", await bundle(here("page-worker.ts")));
  const worker = here("../../../packages/flash-io/src/opfs/opfs-reader-worker.js");
  site.serve("/opfs-reader-worker.js", "text/javascript", await bundle(worker));
  browser = await launchChromium();
  page = await browser.newPage();
  await page.goto(site.origin);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await site?.close();
});

/** Null if the reader does as the case wants; else what the page says. */
async function fault(title: string, readers: number): Promise<string | null> {
  const answer = await page.evaluate(
    (args) =>
      (window as unknown as { call(name: string, args: object): Promise<{ error?: object }> }).call("conform", args),
    { title, readers },
  );
  return answer.error ? JSON.stringify(answer.error) : null;
}

describe.skipIf(chromium.isMissing).each([
  ["the calling worker", 0],
  ["1 worker", 1],
  ["4 workers", 4],
])(chromium.title("openOpfsReader: %s"), (_, readers) => {
  // What only files or threads can suffer is no case of the others'.
  const applicable = readerCases.filter(({ needs }) => needs === undefined || (needs === "hold" && readers > 0));
  for (const { title } of applicable) {
    it(title, async () => {
      expect(await fault(title, readers)).toBeNull();
    });
  }
});
