/** Results of the lab as files and links: what is saved is run again, by the page and by the command in it, to the same text. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { beforeAll, describe, expect, it } from "vitest";
import { build, chromium, program } from "./capabilities.js";
import { writeChattyModel } from "./chatty-model.js";
import { labFolder } from "./lab-site.js";
import { predictionAt, useLab } from "./lab-tests.js";

const DEMO = join(labFolder, "models", "opt-demo.gguf");

interface Saved {
  readonly version: number;
  readonly model: { readonly name: string; readonly fileBytes: number; readonly sha256: string };
  readonly settings: Readonly<Record<string, unknown>>;
  readonly input: unknown;
  readonly text: string;
  readonly steps: readonly { readonly tokens: number; readonly ms: number; readonly readBytes: number }[];
  readonly totals: { readonly tokens: number; readonly tokensPerSec: number; readonly memoryBytes: number };
  readonly machine: { readonly cores: number; readonly backend: string; readonly kernels: string };
  readonly rerun: { readonly command: string; readonly link: string };
}

describe.skipIf(build.isMissing || chromium.isMissing)(chromium.title(build.title("results of the lab")), () => {
  const lab = useLab("lab-share");
  let chatty: string;
  beforeAll(async () => {
    chatty = await writeChattyModel(join(lab.folder, "chatty.gguf"));
  }, 120_000);

  const said = (page: Page, begin: string) =>
    page.waitForFunction((wanted) => document.getElementById("status")?.textContent?.startsWith(wanted), begin);

  async function generate(page: Page): Promise<void> {
    await page.click("#generate");
    await said(page, "Done");
  }

  /** The file that a click on Save hands out. */
  async function save(page: Page): Promise<{ readonly name: string; readonly path: string; readonly saved: Saved }> {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export")]);
    const path = join(lab.folder, download.suggestedFilename());
    await download.saveAs(path);
    return { name: download.suggestedFilename(), path, saved: JSON.parse(readFileSync(path, "utf8")) as Saved };
  }

  /** The command of a result, in the folder of its model, by this checkout's program. */
  function runCommand(command: string, cwd: string): string {
    const line = `${command.replace(/^flashwick/, '"$NODE" "$PROGRAM"')} --json --quiet`;
    const env = { ...process.env, NODE: process.execPath, PROGRAM: program };
    return execFileSync("sh", ["-c", line], { cwd, env, encoding: "utf8" });
  }

  it("saves a run whole, and the command in it gives the same text", async () => {
    const page = await lab.visit();
    expect(await page.isDisabled("#export")).toBe(true);
    await page.fill("#prompt", "It wasn't");
    await page.fill("#tokens", "24");
    await page.selectOption("#policy", "lru");
    await predictionAt(page, 70);
    await generate(page);
    const { name, saved } = await save(page);
    expect(name).toBe("opt-demo.result.json");
    expect(saved).toMatchObject({
      ...{ format: "flashwick-lab-result", version: 1 },
      settings: { budgetPercent: 70, maxTokens: 24, policy: "lru", window: null, drafts: "off", backend: "wasm" },
      input: { kind: "text", prompt: "It wasn't" },
      machine: { cores: await page.evaluate(() => navigator.hardwareConcurrency), backend: "wasm", isolated: true },
      predicted: { device: "opfs-chromium" },
    });
    const bytes = readFileSync(DEMO);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    expect(saved.model).toMatchObject({ name: "opt-demo.gguf", fileBytes: bytes.length, sha256, from: null });
    expect(saved.machine.kernels).toMatch(/^✓ linear, ffn, .*attention/);
    expect(`It wasn't${saved.text}`).toBe(await page.textContent("#text"));
    expect(saved.totals.tokens).toBe(24);
    // The first token comes out of the prompt.
    expect(saved.steps.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(23);
    expect(saved.totals.memoryBytes).toBeLessThanOrEqual(0.7 * bytes.length);
    const printed = JSON.parse(runCommand(saved.rerun.command, join(labFolder, "models"))) as { readonly text: string };
    expect(printed.text).toBe(saved.text);
  });

  it("restores a saved result in another browser, and holds the new text against the saved one", async () => {
    const first = await lab.visit();
    await first.fill("#prompt", "It was a dark night and");
    await first.fill("#tokens", "16");
    await first.fill("#threshold", "-2");
    await first.selectOption("#drafts", "lookup");
    await generate(first);
    const { path, saved } = await save(first);
    await lab.context.close();
    const page = await lab.visit();
    await page.setInputFiles("#file", path);
    await said(page, "Restored");
    expect(await page.inputValue("#prompt")).toBe("It was a dark night and");
    expect(await page.inputValue("#tokens")).toBe("16");
    expect(await page.inputValue("#threshold")).toBe("-2");
    expect(await page.inputValue("#drafts")).toBe("lookup");
    expect(await page.inputValue("#budget")).toBe(`${saved.settings.budgetPercent}`);
    await generate(page);
    expect(await page.textContent("#status")).toMatch(/The text is the saved one, character by character\.$/);
    writeFileSync(path, JSON.stringify({ ...saved, text: `${saved.text.slice(0, 5)}#${saved.text.slice(6)}` }));
    await page.setInputFiles("#file", path);
    await said(page, "Restored");
    await generate(page);
    expect(await page.textContent("#status")).toMatch(/The text differs from the saved one after 5 characters\.$/);
  });

  it("opens a link with its settings, and waits for a model that is not stored", async () => {
    const page = await lab.visit();
    await page.fill("#budget", "90");
    await page.fill("#window", "5");
    await page.fill("#prompt", "The sea & the #sky");
    await page.click("#link");
    await said(page, "The link");
    const link = page.url();
    await page.goto("about:blank");
    await page.goto(link);
    await said(page, "Restored");
    expect(await page.inputValue("#prompt")).toBe("The sea & the #sky");
    expect(await page.inputValue("#budget")).toBe("90");
    expect(await page.inputValue("#window")).toBe("5");
    await page.goto(
      `${lab.site.origin}/#model=chatty.gguf&budgetPercent=150&maxTokens=9&message=Hello&system=Be+brief.`,
    );
    await said(page, "chatty.gguf is not stored in this browser");
    await page.setInputFiles("#file", chatty);
    await said(page, "Restored");
    expect(await page.inputValue("#message")).toBe("Hello");
    expect(await page.inputValue("#system")).toBe("Be brief.");
    expect(await page.inputValue("#reply-tokens")).toBe("9");
    expect(await page.inputValue("#budget")).toBe("150");
    await page.goto(`${lab.site.origin}/#model=chatty.gguf&budgetPercent=many`);
    await page.waitForFunction(() => document.getElementById("error")?.textContent !== "");
    expect(await page.textContent("#error")).toMatch(/^the link: budgetPercent is .*, expected a number from 1 to 200/);
  });

  it("saves a conversation, and the command in it replies the same", async () => {
    const page = await lab.visit();
    await page.setInputFiles("#file", chatty);
    await page.waitForFunction(() => document.body.dataset.view === "chat");
    await page.fill("#budget", "200");
    await page.fill("#reply-tokens", "12");
    await page.fill("#system", "Be brief.");
    for (const question of ["Who are you?", "And who am I?"]) {
      await page.evaluate(() => {
        document.getElementById("status")!.textContent = "";
      });
      await page.fill("#message", question);
      await page.click("#send");
      await said(page, "Done");
    }
    const { saved } = await save(page);
    const replies = await page.locator("#conversation .assistant .said").allTextContents();
    expect(saved.text).toBe(replies[1]);
    const lines = runCommand(saved.rerun.command, lab.folder).trim().split("\n");
    const printed = lines.map((line) => (JSON.parse(line) as { message: { content: string } }).message.content);
    expect(printed).toEqual(replies);
  });

  it.each([
    ["no JSON", "{", /broken\.json: expected JSON/],
    ["another file", '{"format":"x"}', /broken\.json: format is "x", expected flashwick-lab-result/],
    ["a later version", '{"format":"flashwick-lab-result","version":2}', /version is 2, expected 1/],
  ])("says what is wrong with %s", async (_, content, message) => {
    const page = await lab.visit();
    const path = join(lab.folder, "broken.json");
    writeFileSync(path, content);
    await page.setInputFiles("#file", path);
    await page.waitForFunction(() => document.getElementById("error")?.textContent !== "");
    expect(await page.textContent("#error")).toMatch(message);
  });
});
