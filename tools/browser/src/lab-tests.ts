/** What every test of the lab begins and ends with: the site is served, each visit has a profile of its own, and none leaves a complaint. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { serveLab } from "./lab-site.js";
import { visitLab } from "./lab-visit.js";
import { openSite, type Site } from "./site.js";

export type VisitOptions = Parameters<typeof visitLab>[3];

export interface LabTests {
  /** There once hooks run. */
  readonly site: Site;
  /** For files of the tests' own; removed after the last. */
  readonly folder: string;
  /** Of the last visit. */
  readonly context: BrowserContext;
  visit(options?: VisitOptions): Promise<Page>;
}

/** Adds the hooks to the `describe` that it is called in. @param name Of the folder. */
export function useLab(name: string): LabTests {
  let site: Site;
  let folder: string;
  let visits = 0;
  let context: BrowserContext;
  let complaints: string[];
  beforeAll(async () => {
    site = await openSite();
    serveLab(site);
    folder = mkdtempSync(join(tmpdir(), `flashwick-${name}-`));
  }, 120_000);
  afterAll(async () => {
    await site?.close();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    site.isolated = true;
    complaints = [];
  });
  afterEach(async () => {
    // A test may look at the site's files alone.
    await context?.close();
    expect(complaints).toEqual([]);
  });
  return {
    get site() {
      return site;
    },
    get folder() {
      return folder;
    },
    get context() {
      return context;
    },
    async visit(options = {}) {
      const visit = await visitLab(site.origin, join(folder, `profile-${visits++}`), complaints, options);
      context = visit.context;
      return visit.page;
    },
  };
}

/** What axe finds serious in a page: rules, with the elements that break them. */
export async function seriousFaults(page: Page): Promise<readonly (readonly [string, readonly string[]])[]> {
  const script = fileURLToPath(new URL("../node_modules/axe-core/axe.min.js", import.meta.url));
  await page.addScriptTag({ content: readFileSync(script, "utf8") });
  type Axe = { axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> } };
  const { violations } = await page.evaluate(() => (window as unknown as Axe).axe.run());
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);
}

/** Pictures and figures follow at the screen's pace: the next frame has them all. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

/** What the page predicts once the slider of the budget stands at `percent`. */
export async function predictionAt(page: Page, percent: number): Promise<string> {
  await page.evaluate((value) => {
    document.getElementById("prediction")!.textContent = "";
    const budget = document.getElementById("budget") as HTMLInputElement;
    budget.value = `${value}`;
    budget.dispatchEvent(new Event("input"));
  }, percent);
  await page.waitForFunction(() => document.getElementById("prediction")?.textContent !== "");
  return (await page.textContent("#prediction")) ?? "";
}

/** The page is no wider than its screen. */
export async function expectFits(page: Page): Promise<void> {
  const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  expect(widths[0]).toBeLessThanOrEqual(widths[1]!);
}
