/**
 * The lab with a model that is larger than the memory that it is given: first visit to first token, import, a run within a quarter of the file with
 * the renderer's resident size beside it, and again after a reload.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { MiB } from "@flashwick/core";
import { sidecarPath } from "@flashwick/flash-format";
import type { Page } from "playwright-core";
import { launchProfile } from "./chromium.js";
import { Figures } from "./figures.js";
import { serveLab } from "./lab-site.js";
import { unfold } from "./lab-visit.js";
import { largestRenderer } from "./renderer-memory.js";
import { openSite } from "./site.js";

const BUDGET_PERCENT = 25;
const TOKENS = 48;

export async function measure(model: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "flashwick-lab-"));
  const site = await openSite();
  serveLab(site);
  const name = basename(model);
  const predictor = sidecarPath(model);
  site.serveFile(`/${name}`, model);
  site.serveFile(`/${basename(predictor)}`, predictor);
  const context = await launchProfile(join(dir, "profile"));
  const figures = new Figures();
  const note = figures.note.bind(figures);
  const noteMemory = (when: string, dram: number) => {
    const largest = largestRenderer(join(dir, "profile"));
    note(`renderer ${when}, memory of its own (anonymous and shared)`, largest.ownBytes / MiB, "MiB");
    note(`renderer ${when}, of that beyond the budget`, (largest.ownBytes - dram) / MiB, "MiB");
    note(`renderer ${when}, mapped files beside (the browser's own code)`, largest.fileBytes / MiB, "MiB");
  };
  try {
    const page = await context.newPage();
    const begin = performance.now();
    await page.goto(site.origin);
    await ready(page);
    await watchTasks(page);
    await page.fill("#tokens", "1");
    await page.click("#generate");
    await done(page);
    note("first visit to first token of the bundled model", (performance.now() - begin) / 1000, "s");

    const bytes = statSync(model).size;
    const importing = performance.now();
    for (const file of [basename(predictor), name]) {
      await page.fill("#url", `${site.origin}/${file}`);
      await page.click("#url-form button");
      await page.waitForFunction(
        (wanted) => document.getElementById("storage")?.dataset.models?.includes(wanted),
        file,
        { timeout: 600_000 },
      );
    }
    const seconds = (performance.now() - importing) / 1000;
    note("file", bytes / MiB, "MiB");
    note("import, every byte checked", seconds, "s");
    note("import, bytes", bytes / 1e6 / seconds, "MB/s");

    await run(page, name);
    const dram = Number(await page.getAttribute("#dram", "data-budget"));
    note("budget", dram / MiB, "MiB");
    noteMemory("after the import", dram);
    note(
      "tokens a second",
      Number(/([\d.]+) tokens a second/.exec((await page.textContent("#status")) ?? "")?.[1]),
      "1/s",
    );
    note("longest task of the page's own thread", await longestTask(page), "ms");
    const text = await page.textContent("#text");

    await page.reload();
    await ready(page);
    await run(page, name);
    if ((await page.textContent("#text")) !== text) throw new Error("after a reload the same prompt gave another text");
    noteMemory("after a reload", dram);
    note(
      "tokens a second after a reload, without import",
      Number(/([\d.]+) tokens a second/.exec((await page.textContent("#status")) ?? "")?.[1]),
      "1/s",
    );
    figures.write("lab.csv", context.browser()?.version());
  } finally {
    await context.close();
    await site.close();
    rmSync(dir, { recursive: true });
  }
}

async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => document.getElementById("status")?.textContent === "Ready.", null, {
    timeout: 60_000,
  });
  await unfold(page);
}
async function done(page: Page): Promise<void> {
  await page.waitForFunction(() => /^(Done|Stopped)/.test(document.getElementById("status")?.textContent ?? ""), null, {
    timeout: 600_000,
  });
  const error = await page.textContent("#error");
  if (error) throw new Error(error);
}

async function run(page: Page, name: string): Promise<void> {
  await page.selectOption("#model", name);
  await page.fill("#tokens", `${TOKENS}`);
  await page.evaluate((percent) => {
    const budget = document.getElementById("budget") as HTMLInputElement;
    budget.value = `${percent}`;
    budget.dispatchEvent(new Event("input"));
  }, BUDGET_PERCENT);
  await page.click("#generate");
  await done(page);
}

async function watchTasks(page: Page): Promise<void> {
  await page.evaluate(() => {
    const state = window as unknown as { longest: number };
    state.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) state.longest = Math.max(state.longest, duration);
    }).observe({ entryTypes: ["longtask"] });
  });
}

/** 0: none of 50 ms or more, shorter ones are not reported. */
const longestTask = (page: Page) => page.evaluate(() => (window as unknown as { longest: number }).longest);
