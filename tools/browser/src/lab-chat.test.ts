/**
 * The lab with files of llama.cpp, as built, in a real Chromium: imported into the private file system and chatted with, token for token as Node
 * does.
 */
import { statSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ChatMessage } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import type { Page } from "playwright-core";
import { beforeAll, describe, expect, it } from "vitest";
import { build, chromium, models, smolPath } from "./capabilities.js";
import { plainPath, writeChattyModel } from "./chatty-model.js";
import { drawn, expectFits, seriousFaults, useLab } from "./lab-tests.js";
import { fold } from "./lab-visit.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** Pictures are kept when asked for: FLASHWICK_SCREENSHOTS=1. */
const pictures = process.env.FLASHWICK_SCREENSHOTS ? here("../../../docs/pictures") : null;
/** As the lab has it. */
const CONTEXT = { most: 1024, least: 256 };
const QUESTIONS = ["Who are you?", "And who am I?"];

interface Reply {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly end: string;
  readonly figures: string;
  readonly dramBytes: number;
}

describe.skipIf(build.isMissing || chromium.isMissing)(chromium.title(build.title("the lab as a chat")), () => {
  const lab = useLab("lab-chat");
  const { visit } = lab;
  let chatty: string;
  beforeAll(async () => {
    chatty = await writeChattyModel(join(lab.folder, "chatty.gguf"));
  }, 120_000);

  /** Chosen as a person chooses a file, and waited for. */
  async function importChosen(page: Page, path: string): Promise<void> {
    await page.setInputFiles("#file", path);
    await waitForStored(page, basename(path));
    await page.selectOption("#model", basename(path));
    await page.waitForFunction(() => document.body.dataset.weights === "matrices");
  }

  async function setBudget(page: Page, percent: number): Promise<void> {
    await page.fill("#budget", `${percent}`);
    expect(await page.textContent("#budget-value")).toContain(`${percent} % of the file`);
  }

  async function begin(page: Page, message: string): Promise<void> {
    await page.fill("#message", message);
    await page.click("#send");
  }

  async function replyOf(page: Page): Promise<Reply> {
    await page.waitForFunction(
      () => /^(Done|Stopped)/.test(document.getElementById("status")?.textContent ?? ""),
      null,
      {
        timeout: 120_000,
      },
    );
    expect(await page.textContent("#error")).toBe("");
    return await page
      .locator("#conversation .assistant")
      .last()
      .evaluate((bubble) => ({
        text: bubble.querySelector(".said")!.textContent!,
        tokens: (bubble as HTMLElement).dataset
          .tokens!.split(" ")
          .filter((id) => id !== "")
          .map(Number),
        end: (bubble as HTMLElement).dataset.end!,
        figures: bubble.querySelector(".figures")!.textContent!,
        dramBytes: Number((bubble as HTMLElement).dataset.dramBytes),
      }));
  }

  async function reply(page: Page, message: string): Promise<Reply> {
    await begin(page, message);
    return await replyOf(page);
  }

  /** Stops the reply that comes next as soon as there is some of it. */
  async function stopAtOnce(page: Page): Promise<void> {
    await page.evaluate(() => {
      const seen = new MutationObserver(() => {
        if (!document.querySelector("#conversation .assistant:last-child .said")?.textContent) return;
        seen.disconnect();
        document.getElementById("stop-reply")!.click();
      });
      seen.observe(document.getElementById("conversation")!, { childList: true, subtree: true });
    });
  }

  it("replies token for token as Node does, turn by turn, reading layers from storage", async () => {
    const page = await visit();
    await importChosen(page, chatty);
    expect(await page.textContent("#h-run")).toBe("Chat");
    expect(await page.isVisible("#chat-empty")).toBe(true);
    await setBudget(page, 140);
    await page.fill("#reply-tokens", "24");
    await page.fill("#system", "Be brief.");
    const expected = await nodeReplies(chatty, { percent: 140, maxTokens: 24, system: "Be brief." });
    for (const [turn, question] of QUESTIONS.entries()) {
      const { text, tokens, figures, dramBytes } = await reply(page, question);
      expect({ text, tokens }).toEqual(expected[turn]);
      expect(tokens.length).toBeGreaterThan(1);
      expect(figures).toMatch(/[\d.]+ tokens\/s · first token after [\d.]+ s · [\d.]+ KiB read from storage a token/);
      expect(figures).toMatch(/[\d.]+ MiB of memory, the file has [\d.]+ KiB · \d+ of \d+ tokens of text$/);
      expect(dramBytes).toBeLessThanOrEqual(1.4 * statSync(chatty).size);
    }
    expect(await page.locator("#conversation .user .said").allTextContents()).toEqual(QUESTIONS);
    expect(await page.isHidden("#chat-empty")).toBe(true);
  });

  it("Stop ends a reply and keeps the conversation; Reset forgets it", async () => {
    const page = await visit();
    await importChosen(page, chatty);
    await setBudget(page, 200);
    await page.fill("#reply-tokens", "400");
    await stopAtOnce(page);
    const stopped = await reply(page, QUESTIONS[0]!);
    expect(stopped.end).toBe("aborted");
    expect(stopped.text).not.toBe("");
    expect(stopped.tokens.length).toBeLessThan(400);
    expect(stopped.figures).toMatch(/^stopped; /);
    await page.fill("#reply-tokens", "12");
    const history: ChatMessage[] = [
      { role: "user", content: QUESTIONS[0]! },
      { role: "assistant", content: stopped.text },
    ];
    const { text, tokens } = await reply(page, QUESTIONS[1]!);
    expect([{ text, tokens }]).toEqual(
      await nodeReplies(chatty, { percent: 200, maxTokens: 12, history, questions: [QUESTIONS[1]!] }),
    );
    await page.click("#reset");
    expect(await page.locator("#conversation .message").count()).toBe(0);
    expect(await page.isVisible("#chat-empty")).toBe(true);
    const again = await reply(page, QUESTIONS[0]!);
    expect([{ text: again.text, tokens: again.tokens }]).toEqual(
      await nodeReplies(chatty, { percent: 200, maxTokens: 12, questions: [QUESTIONS[0]!] }),
    );
  });

  it("puts a message back that is too long for the context, and says what to do", async () => {
    const page = await visit();
    await importChosen(page, chatty);
    await setBudget(page, 200);
    const long = "word ".repeat(600).trim();
    await begin(page, long);
    await page.waitForSelector("#error:not([hidden])");
    expect(await page.textContent("#error")).toMatch(
      /would have \d+ tokens, and there is room for 512; .*reset the conversation/,
    );
    expect(await page.inputValue("#message")).toBe(long);
    expect(await page.locator("#conversation .message").count()).toBe(0);
    await page.fill("#reply-tokens", "4");
    expect((await reply(page, "Hello")).end).toMatch(/length|eos/);
  });

  it("hides what such a file has no use for, says why, and shows it again for another model", async () => {
    const page = await visit();
    await importChosen(page, plainPath);
    const [ofRecords, ofChat] = [["#prove", "#map", "#train", "#simulate", "#window", "#predictor"], ["#message"]];
    for (const id of [...ofRecords, ...ofChat]) expect(await page.isHidden(id), id).toBe(true);
    expect(await page.textContent("#model-text")).toMatch(
      /^qwen2, \d layers, .*file of llama\.cpp's.*no neuron is left out.*No chat: the file has no chat template\.$/,
    );
    expect(await page.isDisabled("#drafts option[value=lossless]")).toBe(true);
    // Its text is the prompt view's.
    await page.fill("#tokens", "8");
    await page.click("#generate");
    await page.waitForFunction(() => document.getElementById("status")?.textContent?.startsWith("Done"));
    expect((await page.textContent("#text"))!.length).toBeGreaterThan("In the beginning".length);
    await page.selectOption("#model", "opt-demo.gguf");
    await page.waitForFunction(() => document.body.dataset.weights === "records");
    for (const id of ofRecords) expect(await page.isVisible(id), id).toBe(true);
  });

  it("an import can be cancelled, and goes on where it was", async () => {
    const page = await visit();
    lab.site.serveFile("/chatty.gguf", chatty);
    // What follows the weights is not looked at: a file that takes a while.
    await page.evaluate(async () => {
      const bytes = await (await fetch("/chatty.gguf")).arrayBuffer();
      const file = new File([bytes, ...Array(16).fill(new Uint8Array(4 * 2 ** 20))], "padded.gguf");
      const shown = new MutationObserver(() => {
        if (document.getElementById("progress-box")!.hidden) return;
        shown.disconnect();
        document.getElementById("cancel")!.click();
      });
      shown.observe(document.getElementById("progress-text")!, { childList: true });
      const drop = () => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(file);
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
      };
      Object.assign(window, { drop });
      drop();
    });
    await page.waitForFunction(() => document.getElementById("status")?.textContent?.startsWith("Cancelled"));
    expect(await page.textContent("#model")).toMatch(/padded\.gguf \([\d.]+ MiB of [\d.]+ MiB, unfinished\)/);
    expect(await page.isHidden("#progress-box")).toBe(true);
    await page.evaluate(() => (window as unknown as { drop(): void }).drop());
    await waitForStored(page, "padded.gguf");
    await page.selectOption("#model", "padded.gguf");
    await page.waitForFunction(() => document.body.dataset.view === "chat");
  });

  it("says what is needed where the browser gives no room, and refuses what does not run before it is copied", async () => {
    const page = await visit();
    const cdp = await lab.context.newCDPSession(page);
    await cdp.send("Storage.overrideQuotaForOrigin", { origin: lab.site.origin, quotaSize: 8_500_000 });
    await page.setInputFiles("#file", chatty);
    await page.waitForSelector("#error:not([hidden])");
    expect(await page.textContent("#error")).toMatch(/more bytes are needed.*delete other models/);
    await cdp.send("Storage.overrideQuotaForOrigin", { origin: lab.site.origin });
    await page.setInputFiles("#file", here("../../../packages/runtime/fixtures/gguf-tokenizers/mixtral.gguf"));
    await page.waitForFunction(() => document.getElementById("error")?.textContent?.includes("mixtral.gguf"));
    expect(await page.textContent("#model")).not.toContain("mixtral");
    await page.setInputFiles("#file", chatty);
    await waitForStored(page, "chatty.gguf");
  });

  it.each(["light", "dark"] as const)(
    "fits a phone and is accessible: axe finds nothing serious (%s)",
    async (colorScheme) => {
      const page = await visit({ colorScheme, viewport: { width: 375, height: 812 }, isMobile: true });
      await importChosen(page, chatty);
      await page.fill("#reply-tokens", "24");
      await reply(page, QUESTIONS[0]!);
      await expectFits(page);
      expect(await seriousFaults(page)).toEqual([]);
    },
  );

  describe.skipIf(models.isMissing)(models.title("SmolLM2-135M-Instruct in Q4_1"), () => {
    const PERCENT = 50;
    const MAX_TOKENS = 64;
    const CHAT = ["What is the capital of France?", "And what is it known for? One sentence."];

    it("is imported, and within half of its size replies as it does in Node", async () => {
      const page = await visit();
      await importChosen(page, smolPath);
      // Half of the file is what it is given if nobody chooses.
      expect(await page.inputValue("#budget")).toBe(`${PERCENT}`);
      await page.fill("#reply-tokens", `${MAX_TOKENS}`);
      const expected = await nodeReplies(smolPath, { percent: PERCENT, maxTokens: MAX_TOKENS, questions: CHAT });
      for (const [turn, question] of CHAT.entries()) {
        const { text, tokens, end, dramBytes } = await reply(page, question);
        expect({ text, tokens }).toEqual(expected[turn]);
        expect(end).toBe("eos");
        expect(dramBytes).toBeLessThanOrEqual(statSync(smolPath).size / 2);
      }
      if (!pictures) return;
      await fold(page);
      await drawn(page);
      await page.screenshot({ path: join(pictures, "lab-chat.png"), fullPage: true });
      await page.emulateMedia({ colorScheme: "dark" });
      await page.setViewportSize({ width: 375, height: 812 });
      await page.$eval("#transcript", (log) => log.scrollTo(0, log.scrollHeight));
      await drawn(page);
      await page.screenshot({ path: join(pictures, "lab-chat-phone.png"), fullPage: true });
    }, 300_000);
  });
});

const waitForStored = (page: Page, name: string) =>
  page.waitForFunction(
    (wanted) => document.getElementById("storage")?.dataset.models?.split(" ").includes(wanted),
    name,
    { timeout: 120_000 },
  );

interface NodeChat {
  readonly percent: number;
  readonly maxTokens: number;
  readonly system?: string;
  /** What was said before. */
  readonly history?: readonly ChatMessage[];
  readonly questions?: readonly string[];
}

/** What Node replies within the same budget. */
async function nodeReplies(path: string, chat: NodeChat): Promise<{ text: string; tokens: readonly number[] }[]> {
  const { percent, maxTokens, system, history = [], questions = QUESTIONS } = chat;
  const dramBudgetBytes = Math.floor((percent / 100) * statSync(path).size);
  const model = await openModel(path, { dramBudgetBytes, contextTokens: CONTEXT });
  const messages: ChatMessage[] = [...(system ? [{ role: "system", content: system }] : []), ...history];
  const replies: { text: string; tokens: readonly number[] }[] = [];
  for (const content of questions) {
    messages.push({ role: "user", content });
    const run = model.chat(messages, { maxTokens });
    let text = "";
    let step = await run.next();
    for (; !step.done; step = await run.next()) text += step.value.text;
    replies.push({ text, tokens: step.value.tokens });
    messages.push({ role: "assistant", content: text });
  }
  await model.close();
  return replies;
}
