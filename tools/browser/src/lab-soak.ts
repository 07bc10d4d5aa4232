/** The lab for a long time: conversation after conversation with the same model, and what its renderer takes meanwhile. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MiB } from "@flashwick/core";
import type { Page } from "playwright-core";
import { writeChattyModel } from "./chatty-model.js";
import { Figures } from "./figures.js";
import { serveLab } from "./lab-site.js";
import { visitLab } from "./lab-visit.js";
import { largestRenderer } from "./renderer-memory.js";
import { openSite } from "./site.js";

/** Of the file: weights stream. Keys and values of a tiny model take more than its weights. */
const BUDGET_PERCENT = { given: 50, tiny: 150 };
const TOKENS = 48;
/** Of a conversation; the next one is a new one. */
const TURNS = 3;
/** Each is asked once in so many conversations: what it was answered before must come again. */
const QUESTIONS = ["Who are you?", "And who am I?", "What is the sea?", "Say it again.", "Why?"];
/** A sample is what a renderer took in a stretch of the run: their number does not depend on its length. */
const SAMPLES = 100;

interface Sample {
  readonly seconds: number;
  readonly ownBytes: number;
  readonly replies: number;
}

/** @param minutes How long. Default 10. @param model A file of llama.cpp's with a chat template. Default: a tiny one. */
export async function measure(minutes = "10", model?: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "flashwick-lab-soak-"));
  const site = await openSite();
  serveLab(site);
  const complaints: string[] = [];
  const profile = join(dir, "profile");
  const { context, page } = await visitLab(site.origin, profile, complaints);
  try {
    const path = model ?? (await writeChattyModel(join(dir, "chatty.gguf")));
    await importModel(page, path, BUDGET_PERCENT[model ? "given" : "tiny"]);
    const { samples, tokens } = await soak(page, profile, 60_000 * Number(minutes));
    if (complaints.length > 0) throw new Error(complaints.join("; "));
    report(samples, tokens, context.browser()?.version());
  } finally {
    await context.close();
    await site.close();
    rmSync(dir, { recursive: true });
  }
}

async function soak(page: Page, profile: string, ms: number): Promise<{ samples: Sample[]; tokens: number }> {
  const samples: Sample[] = [];
  const said = new Map<string, string>();
  const begin = performance.now();
  let [replies, tokens, sampleMs] = [0, 0, 0];
  while (performance.now() - begin < ms) {
    await page.click("#reset");
    for (let turn = 0; turn < TURNS; turn++) {
      // The same conversations come again and again.
      const asked = Array.from({ length: turn + 1 }, (_, i) => question(Math.floor(replies / TURNS), i));
      const reply = await replyTo(page, asked.at(-1)!);
      const key = asked.join("\n");
      if ((said.get(key) ?? reply) !== reply) throw new Error(`another reply than before to: ${key}`);
      said.set(key, reply);
      replies++;
      tokens += reply.split(" ").length;
    }
    const elapsed = performance.now() - begin;
    if (elapsed < sampleMs) continue;
    sampleMs = elapsed + ms / SAMPLES;
    const sample = { seconds: elapsed / 1000, ownBytes: largestRenderer(profile).ownBytes, replies };
    samples.push(sample);
    console.error(`${sample.seconds.toFixed()} s, ${replies} replies, ${(sample.ownBytes / MiB).toFixed(1)} MiB`);
  }
  return { samples, tokens };
}

function question(conversation: number, turn: number): string {
  return QUESTIONS[(conversation + 2 * turn) % QUESTIONS.length]!;
}

async function importModel(page: Page, path: string, budgetPercent: number): Promise<void> {
  await page.setInputFiles("#file", path);
  const name = basename(path);
  await page.waitForFunction((wanted) => document.getElementById("storage")?.dataset.models?.includes(wanted), name, {
    timeout: 600_000,
  });
  await page.selectOption("#model", name);
  await page.waitForFunction(() => document.body.dataset.view === "chat");
  await page.fill("#reply-tokens", `${TOKENS}`);
  await page.fill("#budget", `${budgetPercent}`);
}

/**
 * @returns The reply's tokens.
 * @throws {Error} With what the page says instead of a reply.
 */
async function replyTo(page: Page, message: string): Promise<string> {
  const replies = page.locator("#conversation .assistant");
  const before = await replies.count();
  await page.fill("#message", message);
  await page.click("#send");
  // Each message ends in a bubble that has an end, or in none: it was put back where it was written.
  await page.waitForFunction(
    (bubbles) => {
      const last = [...document.querySelectorAll<HTMLElement>("#conversation .assistant")][bubbles];
      return last === undefined || last.dataset.end !== undefined;
    },
    before,
    { timeout: 600_000 },
  );
  if ((await replies.count()) === before)
    throw new Error(`no reply to "${message}": ${await page.textContent("#error")}`);
  return (await replies.last().evaluate((bubble) => (bubble as HTMLElement).dataset.tokens)) ?? "";
}

/** Medians of the second tenth and of the last: one sample says what the collector had not come to. */
function report(samples: readonly Sample[], tokens: number, chromium: string | undefined): void {
  const sizes = samples.map(({ ownBytes }) => ownBytes);
  const tenth = Math.max(1, Math.floor(sizes.length / 10));
  const [early, late] = [median(sizes.slice(tenth, 2 * tenth)), median(sizes.slice(-tenth))];
  const figures = new Figures();
  figures.note("time", samples.at(-1)!.seconds / 60, "min");
  figures.note("replies", samples.at(-1)!.replies, "");
  figures.note("tokens", tokens, "");
  figures.note("renderer, median of the second tenth", early / MiB, "MiB");
  figures.note("renderer, median of the last tenth", late / MiB, "MiB");
  figures.note("renderer, drift", 100 * (late / early - 1), "%");
  figures.note("renderer, most", Math.max(...sizes) / MiB, "MiB");
  figures.write("lab-soak.csv", chromium);
  const lines = samples.map(
    ({ seconds, ownBytes, replies }) => `${seconds.toFixed(1)},${(ownBytes / MiB).toFixed(2)},${replies}`,
  );
  const file = fileURLToPath(new URL("../../../docs/results/lab-soak-samples.csv", import.meta.url));
  writeFileSync(file, `${["seconds,renderer_mib,replies", ...lines].join("\n")}\n`);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
