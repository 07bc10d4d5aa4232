/** The conformance table of readers on those of a page's private file system, in a real Chromium. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readerCases } from "@flashwick/flash-io/conformance";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle } from "./bundle.js";
import { launchChromium } from "./chromium.js";
import { openSite, type Site } from "./site.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const launched = await launchChromium().catch((error: Error) => error);
const browser = launched instanceof Error ? null : launched;
const absent = launched instanceof Error ? ` (no Chromium here: ${launched.message.split("\n")[0]})` : "";

let site: Site;
let page: Page;

beforeAll(async () => {
  if (!browser) return;
  site = await openSite();
  site.isolated = true;
  site.serve("/", "text/html", readFileSync(here("test-page.html"), "utf8"));
  site.serve("/page-worker.js", "text/javascript", await bundle(here("page-worker.ts")));
  const worker = here("../../../packages/flash-io/src/opfs/opfs-reader-worker.js");
  site.serve("/opfs-reader-worker.js", "text/javascript", await bundle(worker));
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

describe.each([
  ["the calling worker", 0],
  ["1 worker", 1],
  ["4 workers", 4],
])("openOpfsReader: %s", (_, readers) => {
  describe.skipIf(!browser)(`in Chromium${absent}`, () => {
    for (const { title, needs } of readerCases) {
      const has = needs === undefined || (needs === "hold" && readers > 0);
      it.skipIf(!has)(has ? title : `${title} (no "${needs}" here)`, async () => {
        expect(await fault(title, readers)).toBeNull();
      });
    }
  });
});
