/** The page of docs/guides/embed-in-a-page.md in a real Chromium: its files, bundled as they stand, store the demo model and write its text. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";
import { openModel } from "@flashwick/runtime/node";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle } from "./bundle.js";
import { chromium } from "./capabilities.js";
import { launchChromium } from "./chromium.js";
import { openSite, type Site } from "./site.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** Where the packages can be imported from. */
const sources = here("../node_modules/.cache/guide-page");
const guide = readFileSync(here("../../../docs/guides/embed-in-a-page.md"), "utf8");

/** The guide's files by name. */
function guideFiles(): Map<string, string> {
  const blocks = guide.matchAll(/^```\w+ file: (\S+)\n([\s\S]*?)^```$/gm);
  return new Map([...blocks].map(([, name = "", text = ""]) => [name, text]));
}

async function convertDemo(path: string): Promise<void> {
  const checkpoint = await openCheckpointFolder(demoModels["opt-demo"].checkpointDir);
  const sink = await fileSink(path);
  await convertCheckpoint(checkpoint, (spec) => createModelWriter(sink, spec));
}

describe.skipIf(chromium.isMissing)(chromium.title("docs/guides/embed-in-a-page.md"), () => {
  let folder: string;
  let site: Site;
  let browser: Browser;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "guide-page-"));
    const model = join(folder, "opt-demo.gguf");
    await convertDemo(model);
    site = await openSite();
    site.serveFile("/models/opt-demo.gguf", model);
    mkdirSync(sources, { recursive: true });
    for (const [name, text] of guideFiles()) {
      const path = join(sources, name);
      writeFileSync(path, text);
      if (name.endsWith(".html")) site.serve("/", "text/html", text);
      else site.serve(`/${name}`, "text/javascript", await bundle(path));
    }
    browser = await launchChromium();
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await site?.close();
    rmSync(folder, { recursive: true });
    rmSync(sources, { recursive: true });
  });

  it.each([[true], [false]])("writes the text that Node generates; cross-origin isolated: %s", async (isolated) => {
    site.isolated = isolated;
    const context = await browser.newContext();
    const complaints: string[] = [];
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(site.origin);
    await page.locator("output[data-state=done]").waitFor({ state: "attached" });
    const text = await page.locator("output").evaluate((output) => (output as HTMLOutputElement).value);
    await context.close();
    expect(complaints).toEqual([]);
    expect(text).toBe(await textInNode());
  });

  async function textInNode(): Promise<string> {
    const model = await openModel(join(folder, "opt-demo.gguf"), { dramBudgetBytes: 16 * 2 ** 20 });
    let text = "";
    for await (const token of model.generate("In the beginning", { maxTokens: 8 })) text += token.text;
    await model.close();
    return text;
  }
});
