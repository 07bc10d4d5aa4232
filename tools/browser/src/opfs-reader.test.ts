/** The conformance table of readers, and the table of faults, on those of a page's private file system, in a real Chromium. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { FAULT_KINDS, type FaultOutcome, faultCases, readerCases } from "@flashwick/flash-io/conformance";
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
  site.serve("/faulty-messages.js", "text/javascript", await bundle(here("faulty-messages.ts")));
  // In this order: messages come to the first one first.
  const both = 'import "/faulty-messages.js"; import "/opfs-reader-worker.js";';
  site.serve("/faulty-opfs-worker.js", "text/javascript", both);
  browser = await launchChromium();
  page = await browser.newPage();
  await page.goto(site.origin);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await site?.close();
});

interface Answer {
  readonly error?: object;
  readonly result?: unknown;
}

function call(name: string, args: object): Promise<Answer> {
  return page.evaluate(
    ([name, args]) => (window as unknown as { call(name: string, args: object): Promise<Answer> }).call(name, args),
    [name, args] as const,
  );
}

/** Null if the reader does as the case wants; else what the page says. */
async function fault(title: string, readers: number): Promise<string | null> {
  const answer = await call("conform", { title, readers });
  return answer.error ? JSON.stringify(answer.error) : null;
}

/** Handles keep the file from being changed, and a reader that reads at once has nothing that could come late. */
const HELD = ["shrink", "grow", "replace", "delete"];
const LATE = ["delay", "reorder"];
const DOES: Readonly<Record<string, readonly FaultOutcome[]>> = {
  short: ["right"],
  "device-error": ["IO_READ"],
  "wrong-bit": ["one wrong bit"],
};

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
  const cannot = [...HELD, ...(readers === 0 ? LATE : [])];
  for (const { kind, title, outcomes } of faultCases.filter(({ kind }) => !cannot.includes(kind))) {
    it(title, async () => {
      const { result, error } = await call("fault", { kind, readers });
      expect(error).toBeUndefined();
      const { outcomes: found, struck } = result as { readonly outcomes: FaultOutcome[]; readonly struck: number };
      expect(struck).toBeGreaterThanOrEqual(6);
      expect(DOES[kind] ?? outcomes).toEqual(expect.arrayContaining(found));
    });
  }
  it(`cannot have: ${cannot.join(", ")} (handles hold the file${readers === 0 ? ", and it reads at once" : ""})`, () => {
    expect(FAULT_KINDS).toEqual(expect.arrayContaining(cannot));
    expect(Object.keys(DOES).filter((kind) => cannot.includes(kind))).toEqual([]);
  });
});
