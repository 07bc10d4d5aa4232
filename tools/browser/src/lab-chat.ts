/** The lab as a chat: import of a file of llama.cpp's, then the same conversation within several budgets, and in Node within the same. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { MiB } from "@flashwick/core";
import type { Model } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import type { Page } from "playwright-core";
import { Figures } from "./figures.js";
import { serveLab } from "./lab-site.js";
import { visitLab } from "./lab-visit.js";
import { largestRenderer } from "./renderer-memory.js";
import { openSite } from "./site.js";

/** Half of the file, and enough for all of it. */
const BUDGET_PERCENTS = [50, 200];
/** Conversations of one question each; one more goes before them, which loads and does not count. */
const TURNS = 5;
const TOKENS = 128;
/** Another one each time: what was computed for the same one would be used again. */
const question = (turn: number) => `Write ${turn + 2} paragraphs about the sea, and begin with its colour.`;
/** As the lab has it. */
const CONTEXT = { most: 1024, least: 256 };

interface Reply {
  readonly tokens: string;
  readonly tokensPerSec: number;
  readonly firstTokenMs: number;
  readonly flashBytesPerToken: number;
}

export async function measure(model: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "flashwick-lab-chat-"));
  const site = await openSite();
  serveLab(site);
  const complaints: string[] = [];
  const profile = join(dir, "profile");
  const { context, page } = await visitLab(site.origin, profile, complaints);
  const figures = new Figures();
  try {
    const fileBytes = statSync(model).size;
    const begin = performance.now();
    await importModel(page, model);
    figures.note("file", fileBytes / MiB, "MiB");
    figures.note("import", (performance.now() - begin) / 1000, "s");
    for (const percent of BUDGET_PERCENTS) await measureBudget(page, model, percent, profile, figures);
    if (complaints.length > 0) throw new Error(complaints.join("; "));
    figures.write("lab-chat.csv", context.browser()?.version());
  } finally {
    await context.close();
    await site.close();
    rmSync(dir, { recursive: true });
  }
}

/** Page and Node in turns, so that whatever else the machine does hits both. */
async function measureBudget(
  page: Page,
  path: string,
  percent: number,
  profile: string,
  figures: Figures,
): Promise<void> {
  const dramBudgetBytes = Math.floor((percent / 100) * statSync(path).size);
  // On one thread and through the page cache, as a page has it on two cores.
  const model = await openModel(path, {
    ...{ dramBudgetBytes, contextTokens: CONTEXT },
    ...{ threads: 1, profile: null, io: "buffered" },
  });
  await page.fill("#budget", `${percent}`);
  const [inPage, inNode]: [Reply[], Reply[]] = [[], []];
  for (let turn = 0; turn <= TURNS; turn++) {
    inPage.push(await replyInPage(page, question(turn)));
    inNode.push(await replyInNode(model, question(turn)));
    if (inPage[turn]!.tokens !== inNode[turn]!.tokens) {
      throw new Error(`within ${percent} % of the file the page replies otherwise than Node to: ${question(turn)}`);
    }
  }
  await model.close();
  noteFastest(`${percent} % of the file, page`, inPage.slice(1), figures);
  noteFastest(`${percent} % of the file, Node`, inNode.slice(1), figures);
  const { ownBytes } = largestRenderer(profile);
  figures.note(`${percent} % of the file, renderer beyond the budget`, (ownBytes - dramBudgetBytes) / MiB, "MiB");
}

function noteFastest(what: string, replies: readonly Reply[], figures: Figures): void {
  const rates = replies.map(({ tokensPerSec }) => tokensPerSec).sort((a, b) => a - b);
  figures.note(`${what}: tokens a second, the fastest reply`, rates.at(-1)!, "1/s");
  figures.note(`${what}: tokens a second, the middle reply`, rates[Math.floor(rates.length / 2)]!, "1/s");
  const firstMs = Math.min(...replies.map(({ firstTokenMs }) => firstTokenMs));
  figures.note(`${what}: first token of a new conversation, the fastest`, firstMs, "ms");
  figures.note(`${what}: read from storage a token`, replies[0]!.flashBytesPerToken / MiB, "MiB");
}

async function importModel(page: Page, path: string): Promise<void> {
  await page.setInputFiles("#file", path);
  const name = basename(path);
  await page.waitForFunction((wanted) => document.getElementById("storage")?.dataset.models?.includes(wanted), name, {
    timeout: 600_000,
  });
  await page.selectOption("#model", name);
  await page.waitForFunction(() => document.body.dataset.view === "chat");
  await page.fill("#reply-tokens", `${TOKENS}`);
}

async function replyInPage(page: Page, message: string): Promise<Reply> {
  await page.click("#reset");
  await page.fill("#message", message);
  await page.click("#send");
  await page.waitForFunction(() => /^(Done|Stopped)/.test(document.getElementById("status")?.textContent ?? ""), null, {
    timeout: 600_000,
  });
  return await page.locator("#conversation .assistant").evaluate((bubble) => {
    const { tokens, tokensPerSec, firstTokenMs, flashBytesPerToken } = (bubble as HTMLElement).dataset;
    return {
      tokens: tokens!,
      tokensPerSec: Number(tokensPerSec),
      firstTokenMs: Number(firstTokenMs),
      flashBytesPerToken: Number(flashBytesPerToken),
    };
  });
}

async function replyInNode(model: Model, content: string): Promise<Reply> {
  const begin = performance.now();
  let firstTokenMs = 0;
  const run = model.chat([{ role: "user", content }], { maxTokens: TOKENS });
  for (;;) {
    const step = await run.next();
    firstTokenMs ||= performance.now() - begin;
    if (!step.done) continue;
    const { tokensPerSec, flashBytesPerToken } = step.value.stats;
    return { tokens: step.value.tokens.join(" "), tokensPerSec, firstTokenMs, flashBytesPerToken };
  }
}
