/**
 * The lab with mixtures of experts: import into the private file system, then a text within a quarter of the file, from storage that the operating
 * system has forgotten and once more, with the renderer's memory beside it; and the same text in Node, which must be the same.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { MiB } from "@flashwick/core";
import { openModel } from "@flashwick/runtime/node";
import type { Page } from "playwright-core";
import { Figures } from "./figures.js";
import { filesOf, serveLab } from "./lab-site.js";
import { unfold, visitLab } from "./lab-visit.js";
import { largestRenderer } from "./renderer-memory.js";
import { openSite } from "./site.js";

/** What the text goes on from; of a model with a chat template, the message that is replied to. */
const PROMPT = "In the beginning";
/** Of a conversation, as the lab has it. */
const CONTEXT = { most: 1024, least: 256 };
/** How often the renderer's memory is looked at, ms. */
const LOOK_MS = 250;
/** Of any one step, ms: the machine may be slow. */
const PATIENCE_MS = 3_600_000;

interface Settings {
  readonly percent: number;
  readonly tokens: number;
  /** Undefined: what suits the model. */
  readonly policy: "window" | "lru" | "lfu" | "pinned" | undefined;
}

/** @param args Models, and `--budget <percent of the file>`, `--tokens <n>`, `--policy <name>`. */
export async function measure(...args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      budget: { type: "string", default: "25" },
      tokens: { type: "string", default: "256" },
      policy: { type: "string" },
    },
  });
  const { budget, tokens, policy } = values;
  const settings = { percent: Number(budget), tokens: Number(tokens), policy: policy as Settings["policy"] };
  const figures = new Figures();
  let version: string | undefined;
  for (const model of positionals) version = await measureModel(model, settings, figures);
  figures.write("lab-mixture.csv", version);
}

/** @returns The browser's version. */
async function measureModel(path: string, settings: Settings, figures: Figures): Promise<string | undefined> {
  const dir = mkdtempSync(join(tmpdir(), "flashwick-lab-mixture-"));
  const profile = join(dir, "profile");
  const site = await openSite();
  serveLab(site);
  const complaints: string[] = [];
  const { context, page } = await visitLab(site.origin, profile, complaints);
  const note = (what: string, value: number, unit: string) => figures.note(`${basename(path)}: ${what}`, value, unit);
  try {
    if (!(await page.evaluate(() => crossOriginIsolated))) throw new Error("the page is not cross-origin isolated");
    const fileBytes = statSync(path).size;
    note("file", fileBytes / MiB, "MiB");
    note("import", await importMixture(page, path), "s");
    const dramBudgetBytes = Math.floor((settings.percent / 100) * fileBytes);
    note(`budget, ${settings.percent} % of the file`, dramBudgetBytes / MiB, "MiB");
    const texts: string[] = [];
    for (const when of ["from cold storage", "again"]) {
      // Nothing is left of the run before, nor of the import, but what is stored.
      await page.reload();
      await choose(page, basename(path));
      await setUp(page, settings);
      if (when !== "again") forget(filesOf(profile).map((file) => join(profile, file)));
      const text = await noteRun(page, profile, dramBudgetBytes, (what, ...value) =>
        note(`${when}: ${what}`, ...value),
      );
      texts.push(text);
    }
    forget([path]);
    const node = await inNode(path, dramBudgetBytes, settings, await isChat(page));
    if (texts.some((text) => text !== node.text)) {
      throw new Error(
        `${basename(path)}: the page says otherwise than Node:\n${[...texts, node.text].join("\n---\n")}`,
      );
    }
    note("Node, from cold storage, buffered: tokens a second", node.tokensPerSec, "1/s");
    if (complaints.length > 0) throw new Error(complaints.join("; "));
    return context.browser()?.version();
  } finally {
    await context.close();
    await site.close();
    rmSync(dir, { recursive: true });
  }
}

/** @returns Seconds. */
async function importMixture(page: Page, path: string): Promise<number> {
  const name = basename(path);
  const begin = performance.now();
  await page.setInputFiles("#file", path);
  await page.waitForFunction(
    (wanted) =>
      document.getElementById("storage")?.dataset.models?.split(" ").includes(wanted) ||
      document.getElementById("error")?.textContent,
    name,
    { timeout: PATIENCE_MS },
  );
  const seconds = (performance.now() - begin) / 1000;
  await throwError(page);
  return seconds;
}

async function choose(page: Page, name: string): Promise<void> {
  await page.waitForFunction(() => document.getElementById("status")?.textContent === "Ready.");
  await unfold(page);
  await page.selectOption("#model", name);
  await page.waitForFunction((wanted) => document.getElementById("model-text")?.dataset.model === wanted, name);
  const weights = await page.evaluate(() => document.body.dataset.weights);
  if (weights !== "experts") throw new Error(`${name}: expected a mixture of experts, found weights in ${weights}`);
}

const isChat = (page: Page) => page.evaluate(() => document.body.dataset.view === "chat");

async function setUp(page: Page, { percent, tokens, policy }: Settings): Promise<void> {
  await page.fill("#budget", `${percent}`);
  await page.selectOption("#policy", policy ?? "");
  const [length, prompt] = (await isChat(page)) ? ["#reply-tokens", "#message"] : ["#tokens", "#prompt"];
  await page.fill(length!, `${tokens}`);
  await page.fill(prompt!, PROMPT);
}

/** @returns The text. */
async function noteRun(page: Page, profile: string, dramBudgetBytes: number, note: Figures["note"]): Promise<string> {
  const readBefore = largestRenderer(profile).deviceBytes;
  let peakBytes = 0;
  const look = () => {
    peakBytes = Math.max(peakBytes, largestRenderer(profile).ownBytes);
  };
  const looking = setInterval(look, LOOK_MS);
  const figures = await run(page).finally(() => clearInterval(looking));
  look();
  note("threads that compute", figures.threads!, "");
  note("readers", figures.readers!, "");
  note("tokens a second", figures.tokensPerSec!, "1/s");
  note("read from storage a token", figures.flashBytesPerToken! / MiB, "MiB");
  note("experts found in memory", 100 * figures.cacheHitShare!, "%");
  note("median token", figures.p50Ms!, "ms");
  note("p99 of tokens", figures.p99Ms!, "ms");
  note("slowest token", figures.slowestMs!, "ms");
  note(
    "read from the device, loading and prompt included",
    (largestRenderer(profile).deviceBytes - readBefore) / MiB,
    "MiB",
  );
  note("renderer, most memory of its own", peakBytes / MiB, "MiB");
  note("renderer, of that beyond the budget", (peakBytes - dramBudgetBytes) / MiB, "MiB");
  return await textOf(page);
}

/** Without what it goes on from. */
async function textOf(page: Page): Promise<string> {
  if (await isChat(page)) return (await page.textContent("#conversation .assistant .said")) ?? "";
  return ((await page.textContent("#text")) ?? "").slice(PROMPT.length);
}

async function run(page: Page): Promise<Readonly<Record<string, number>>> {
  await page.click((await isChat(page)) ? "#send" : "#generate");
  await page.waitForFunction(() => /^(Done|Stopped)/.test(document.getElementById("status")?.textContent ?? ""), null, {
    timeout: PATIENCE_MS,
  });
  await throwError(page);
  // Figures follow at the screen's pace.
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  const figures = await page.$eval("#facts", (list) => ({ ...(list as HTMLElement).dataset }));
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Number(value)]));
}

async function throwError(page: Page): Promise<void> {
  const error = await page.textContent("#error");
  if (error) throw new Error(error);
}

/** The operating system drops what it holds of these files, and of no others. Linux. */
function forget(files: readonly string[]): void {
  for (const file of files.filter((path) => statSync(path).size >= MiB)) {
    execFileSync("sync", [file]);
    execFileSync("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"]);
  }
}

/**
 * Within the same budget, with what suits of threads and readers, through the page cache as a page reads.
 *
 * @param isReply The page has a chat: the text is a reply, and ends where the model ends it.
 */
async function inNode(path: string, dramBudgetBytes: number, { tokens, policy }: Settings, isReply: boolean) {
  const options = { dramBudgetBytes, policy, io: "buffered" } as const;
  const model = await openModel(path, isReply ? { ...options, contextTokens: CONTEXT } : options);
  try {
    let text = "";
    const generated = isReply
      ? model.chat([{ role: "user", content: PROMPT }], { maxTokens: tokens })
      : model.generate(model.tokenizer.encode(PROMPT, true), { maxTokens: tokens, ignoreEos: true });
    for (;;) {
      const step = await generated.next();
      if (step.done) return { text, tokensPerSec: step.value.stats.tokensPerSec };
      text += step.value.text;
    }
  } finally {
    await model.close();
  }
}
