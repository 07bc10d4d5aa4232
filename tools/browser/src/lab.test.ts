/**
 * The lab, as built, in a real Chromium: a first visit ends in text, every panel shows something, nothing complains, and what a screenshot shows is
 * kept in the docs.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { build, chromium } from "./capabilities.js";
import { filesOf, labFolder } from "./lab-site.js";
import { drawn, expectFits, predictionAt, seriousFaults, useLab } from "./lab-tests.js";
import { unfold } from "./lab-visit.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const dist = labFolder;
/** Pictures are kept when asked for: FLASHWICK_SCREENSHOTS=1. */
const pictures = process.env.FLASHWICK_SCREENSHOTS ? here("../../../docs/pictures") : null;

describe.skipIf(build.isMissing || chromium.isMissing)(chromium.title(build.title("the lab")), () => {
  const lab = useLab("lab");
  const { visit } = lab;

  async function generate(page: Page, tokens: number): Promise<void> {
    await page.fill("#tokens", `${tokens}`);
    await page.click("#generate");
    await page.waitForFunction(
      () => /^(Done|Stopped)/.test(document.getElementById("status")?.textContent ?? ""),
      null,
      {
        timeout: 60_000,
      },
    );
    expect(await page.textContent("#error")).toBe("");
    await drawn(page);
  }

  /** A copy of the bundled model under a name that no predictor lies beside. */
  async function importWithoutPredictor(page: Page): Promise<void> {
    await page.evaluate(async () => {
      const bytes = await (await fetch("/models/opt-demo.gguf")).arrayBuffer();
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], "plain.gguf"));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.waitForFunction(() => document.getElementById("storage")?.dataset.models?.includes("plain.gguf"));
    await page.selectOption("#model", "plain.gguf");
  }

  /** What the figures of drafts say, and what the table of steps and the marks in the text add up to. */
  async function draftsOf(page: Page) {
    const figures = (await page.textContent("#drafts-facts")) ?? "";
    const [, accepted, drafted] = /accepted(\d+) of (\d+) drafts/.exec(figures)!.map(Number);
    const [, tokensPerStep, steps] = /tokens per step([\d.]+) in (\d+) steps/.exec(figures)!.map(Number);
    const [, lambda] = /λ\)(\d+)$/.exec(figures)!.map(Number);
    const rows = await page.$$eval("#drafts-table tbody tr", (all) =>
      all.map((row) => ({
        counts: [...row.querySelectorAll("td:not(.words)")].map((cell) => Number(cell.textContent)),
        accepted: row.querySelectorAll("mark").length,
        rejected: row.querySelectorAll("del").length,
      })),
    );
    const lanes = await page.$eval("#timeline", (canvas) => {
      const { height } = canvas.getBoundingClientRect();
      const context = (canvas as HTMLCanvasElement).getContext("2d")!;
      const hasInk = (top: number, tall: number) =>
        context.getImageData(62, top, (canvas as HTMLCanvasElement).width - 62, tall).data.some((byte) => byte > 0);
      // As in timeline.ts of packages/drawings: bars end 82 above the bottom, accepted drafts follow, then rejected ones.
      return { height, accepted: hasInk(height - 76, 12), rejected: hasInk(height - 58, 38) };
    });
    const marked = await page.locator("#text mark").count();
    const sentences = await page.textContent("#drafts-text");
    return { accepted, drafted, tokensPerStep, steps, lambda, rows, lanes, marked, sentences };
  }

  it("goes from a first visit to text by itself, and says what it read", async () => {
    const page = await visit();
    expect(await page.textContent("#model")).toContain("opt-demo.gguf");
    await generate(page, 24);
    const text = (await page.textContent("#text")) ?? "";
    expect(text.startsWith("In the beginning")).toBe(true);
    expect(text.length).toBeGreaterThan("In the beginning".length + 24);
    const facts = await page.textContent("#facts");
    expect(facts).toMatch(/read from storage.*(KiB|MiB|B) in \d+ reads/);
    expect(facts).toMatch(/every neuron would be8\.00 MiB/);
    const timesFewer = Number(/times fewer([\d.]+) ×/.exec(facts ?? "")?.[1]);
    expect(timesFewer).toBeGreaterThan(3);
    expect(await page.textContent("#map-text")).toMatch(/8 layers of 1024 neurons\. Last token: \d+ awake/);
  });

  it("runs again after a reload without importing, on one thread where memory cannot be shared, to the same text", async () => {
    const page = await visit();
    await generate(page, 12);
    const first = await page.textContent("#text");
    await page.reload();
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Ready.");
    await unfold(page);
    await generate(page, 12);
    expect(await page.textContent("#text")).toBe(first);
    await lab.context.close();
    lab.site.isolated = false;
    const alone = await visit();
    await generate(alone, 12);
    expect(await alone.textContent("#text")).toBe(first);
    expect(await alone.textContent("#isolation")).toContain("not cross-origin isolated");
  });

  it("proves it: the same prompt dense and sparse, lossless equal to dense; and replays the caches", async () => {
    const page = await visit({ colorScheme: "dark" });
    await generate(page, 32);
    await page.click("#simulate");
    await page.waitForFunction(() => document.querySelectorAll("#sim-table tbody tr").length === 5);
    expect(await page.textContent("#sim-table")).toContain("clairvoyant");
    await page.fill("#tokens", "24");
    await page.click("#prove");
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Compared.", null, {
      timeout: 60_000,
    });
    const proof = (await page.textContent("#proof")) ?? "";
    expect(Number(/same likeliest token([\d.]+) %/.exec(proof)?.[1])).toBeGreaterThan(85);
    expect((await page.textContent("#sparse-text"))?.length).toBeGreaterThan(20);
    expect(await page.textContent("#lossless-verdict")).toBe("✓ Lossless: all 24 tokens are the dense model's.");
    const lossless = (await page.textContent("#lossless-text")) ?? "";
    expect(lossless.length).toBeGreaterThan(20);
    expect(await page.textContent("#dense-alone-text")).toBe(lossless);
    const [, accepted] = /drafts accepted(\d+) of/.exec((await page.textContent("#lossless-table")) ?? "")!;
    expect(Number(accepted)).toBeGreaterThan(0);
    expect(await page.locator("#lossless-text mark").count()).toBe(Number(accepted));
    if (pictures) await page.locator("#proving").screenshot({ path: join(pictures, "lab-proof.png") });
  });

  it("drafts by lookup, to the same text, and says what became of every draft", async () => {
    const page = await visit();
    await page.fill("#prompt", "And he said unto them, And he said unto");
    await generate(page, 48);
    const text = await page.textContent("#text");
    expect(await page.isHidden("#drafts-panel")).toBe(true);
    expect(await page.locator("#text mark").count()).toBe(0);
    expect((await page.locator("#timeline").boundingBox())!.height).toBe(140);
    for (const drafts of ["lookup", "auto"]) {
      await page.selectOption("#drafts", drafts);
      await generate(page, 48);
      expect(await page.textContent("#text")).toBe(text);
      expect(await page.textContent("#drafts-facts")).toContain(`(${drafts})`);
      const { accepted, drafted, tokensPerStep, steps, lambda, rows, marked, lanes, sentences } = await draftsOf(page);
      // The last token has nothing after it, and is not computed.
      expect(accepted! + steps!).toBe(47);
      expect(tokensPerStep).toBeCloseTo(47 / steps!, 1);
      expect(marked).toBe(accepted);
      for (const { counts, ...words } of rows) {
        expect(counts.slice(1)).toEqual([words.accepted + words.rejected, words.accepted, words.rejected]);
      }
      expect(rows.length).toBe(steps);
      expect(rows[0]!.counts.slice(0, 2)).toEqual([steps, lambda]);
      expect(sentences).toContain(
        `The 47 tokens shown came in ${steps} steps: ${drafted} drafted, ${accepted} accepted, ${drafted! - accepted!} rejected.`,
      );
      if (drafts === "auto") continue;
      expect(accepted).toBeGreaterThan(0);
      expect(lanes).toEqual({ height: 204, accepted: true, rejected: drafted! > accepted! });
    }
    await page.selectOption("#drafts", "off");
    await generate(page, 12);
    expect(await page.isHidden("#drafts-panel")).toBe(true);
    expect(await page.textContent("#drafts-text")).toBe("");
  });

  it("lossless is the dense model's text, with its drafts beside the reads and phases of each step", async () => {
    const page = await visit();
    await page.selectOption("#drafts", "lossless");
    await page.waitForFunction(() =>
      document.getElementById("prediction")?.textContent?.startsWith("Predicted for the sparse path, without drafts: "),
    );
    // So high that the sparse path misses neurons that matter: drafts are rejected, unless they happen to be none where it is wrong.
    await page.fill("#threshold", "3");
    await page.fill("#prompt", "It was a dark night and");
    await generate(page, 49);
    const text = await page.textContent("#text");
    const { accepted, drafted, steps, lambda, marked, lanes } = await draftsOf(page);
    expect(accepted! + steps!).toBe(48);
    expect(accepted).toBeGreaterThan(0);
    expect(marked).toBe(accepted);
    expect(lanes).toEqual({ height: 204, accepted: true, rejected: drafted! > accepted! });
    // Drafts are within the picture of the step: its reads and phases are laid out over the time of all passes.
    const [, ms, flown] = /([\d.]+) ms\. Reads were in flight for ([\d.]+) ms/.exec(
      (await page.textContent("#spans-text")) ?? "",
    )!;
    expect(Number(flown)).toBeLessThanOrEqual(Number(ms));
    // Before the end of the text there may be no room for a draft.
    expect((await page.locator("#spans").boundingBox())!.height).toBe(lambda === 0 ? 84 : 112);
    expect(await page.textContent("#map-text")).toMatch(
      lambda === 0
        ? /Last token: every neuron is used\./
        : /Last step, \d+ tokens?: \d+ awake .* The dense pass used every neuron\./,
    );
    if (pictures) await page.locator("section:has(#spans)").screenshot({ path: join(pictures, "lab-steps.png") });
    await unfold(page);
    if (pictures) await page.locator("#drafts-panel").screenshot({ path: join(pictures, "lab-drafts.png") });
    await page.selectOption("#drafts", "off");
    await generate(page, 49);
    expect(await page.textContent("#text")).not.toBe(text);
    await page.selectOption("#drafts", "lossless");
    await importWithoutPredictor(page);
    expect(await page.inputValue("#drafts")).toBe("off");
    expect(await page.isDisabled("#drafts option[value=lossless]")).toBe(true);
    await generate(page, 49);
    expect(await page.textContent("#text")).toBe(text);
    await page.selectOption("#predictor", "opt-demo.predictor.gguf");
    expect(await page.isDisabled("#drafts option[value=lossless]")).toBe(false);
  });

  it("a model without a predictor stopped after one token, over a buffer that was detached", async () => {
    const page = await visit();
    await importWithoutPredictor(page);
    await generate(page, 12);
    expect(await page.textContent("#map-text")).toBe("8 layers of 1024 neurons. Last token: every neuron is used.");
    expect(await page.isDisabled("#simulate")).toBe(true);
    await page.fill("#tokens", "8");
    await page.click("#prove");
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Compared.");
    expect(await page.textContent("#lossless-verdict")).toMatch(/^No lossless run: .* no predictor/);
    expect(await page.isHidden("#lossless-sides")).toBe(true);
  });

  it("shows a token's phases beside the reads in flight, in numbers too", async () => {
    const page = await visit();
    await page.fill("#readers", "2");
    await page.fill("#budget", "55");
    await generate(page, 12);
    const text = (await page.textContent("#spans-text")) ?? "";
    if (pictures) await page.locator("section:has(#spans)").screenshot({ path: join(pictures, "lab-token.png") });
    const [, ms, flown, beside] = /([\d.]+) ms\. Reads were in flight for ([\d.]+) ms, ([\d.]+) of them/.exec(text)!;
    expect(Number(flown)).toBeLessThanOrEqual(Number(ms));
    expect(Number(beside)).toBeLessThanOrEqual(Number(flown));
    expect(await page.textContent("#phases")).toContain("attention");
  });

  it("computes on several threads when told to, to the same text", async () => {
    const page = await visit();
    await generate(page, 8);
    const text = await page.textContent("#text");
    await page.evaluate(() => {
      const status = document.getElementById("status")!;
      new MutationObserver(() => {
        document.body.dataset.said = `${document.body.dataset.said ?? ""}|${status.textContent}`;
      }).observe(status, { childList: true, characterData: true, subtree: true });
    });
    await page.fill("#threads", "3");
    await generate(page, 8);
    expect(await page.getAttribute("body", "data-said")).toContain("3 threads compute.");
    expect(await page.textContent("#text")).toBe(text);
  });

  it("computes on the graphics processor when told to, to the same text", async () => {
    const page = await visit();
    await generate(page, 8);
    const text = await page.textContent("#text");
    await page.selectOption("#backend", "webgpu");
    await page.waitForFunction(() =>
      document.getElementById("prediction")?.textContent?.startsWith("Nothing predicted"),
    );
    await generate(page, 8);
    expect(await page.textContent("#text")).toBe(text);
    await page.selectOption("#drafts", "lossless");
    await generate(page, 8);
    expect(await page.textContent("#text")).toBe(text);
    expect((await draftsOf(page)).accepted).toBeGreaterThan(0);
  });

  it("trains a predictor in the page, can be stopped, and runs with it", async () => {
    const page = await visit();
    await page.fill("#train-tokens", "8192");
    await page.click("#train");
    await page.waitForFunction(
      () => /^Layer 1 of 8, epoch 1/.test(document.getElementById("train-text")?.textContent ?? ""),
      null,
      { timeout: 60_000 },
    );
    await page.click("#stop");
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Stopped.");
    expect(await page.locator("#predictor option").count()).toBe(2);
    await page.click("#train");
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Trained.", null, {
      timeout: 120_000,
    });
    const [, recall] = /names ([\d.]+) % of the active/.exec((await page.textContent("#train-text")) ?? "")!;
    expect(Number(recall)).toBeGreaterThan(60);
    expect(await page.inputValue("#predictor")).toBe("opt-demo.own.predictor.gguf");
    await generate(page, 12);
    if (pictures) await page.locator("#training").screenshot({ path: join(pictures, "lab-training.png") });
  });

  it("predicts as the sliders move: more memory, fewer bytes; too little, and the reason", async () => {
    const page = await visit();
    const predicted = (percent: number) => predictionAt(page, percent);
    const [little, much] = [await predicted(55), await predicted(80)];
    expect(little).toMatch(/^Predicted: \d+ tokens a second, /);
    const bytesOf = (text: string) => {
      const [, amount, unit] = /second, ([\d.]+) (B|KiB|MiB) read/.exec(text)!;
      return Number(amount) * { B: 1, KiB: 1024, MiB: 1024 * 1024 }[unit as "B"];
    };
    expect(bytesOf(much)).toBeLessThan(bytesOf(little));
    expect(await predicted(15)).toMatch(/cannot run like this.*(smallest|at least)/);
  });

  it("takes files that are dropped, and says what is wrong with those that it does not take", async () => {
    const page = await visit();
    const drop = (name: string, flip: boolean) =>
      page.evaluate(
        async ([name, flip]) => {
          const bytes = new Uint8Array(await (await fetch("/models/opt-demo.predictor.gguf")).arrayBuffer());
          if (flip) bytes[bytes.length - 1000]! ^= 1;
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], name as string));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        },
        [name, flip] as const,
      );
    await drop("mine.predictor.gguf", false);
    await page.waitForFunction(() =>
      document.getElementById("predictor")?.textContent?.includes("mine.predictor.gguf"),
    );
    await drop("broken.predictor.gguf", true);
    await page.waitForSelector("#error:not([hidden])");
    expect(await page.textContent("#error")).toMatch(/broken\.predictor\.gguf is damaged/);
    expect(await page.textContent("#predictor")).not.toContain("broken");
    await generate(page, 4);
  });

  it("stops when told to, and refuses a budget that cannot do, in words", async () => {
    const page = await visit();
    await page.fill("#tokens", "500");
    await page.click("#generate");
    await page.waitForFunction(() => (document.getElementById("text")?.textContent ?? "").length > 40);
    await page.click("#stop");
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Stopped.");
    await page.evaluate(() => {
      const budget = document.getElementById("budget") as HTMLInputElement;
      budget.min = "1";
      budget.value = "2";
    });
    await page.click("#generate");
    await page.waitForSelector("#error:not([hidden])");
    expect(await page.textContent("#error")).toMatch(/smallest|at least/);
  });

  it("Stop stopped the import, and an import offered Generate, while a run went on", async () => {
    const page = await visit();
    const release = lab.site.hold("/models/held.predictor.gguf");
    lab.site.serveFile("/models/held.predictor.gguf", join(dist, "models", "opt-demo.predictor.gguf"));
    const buttons = () =>
      page.evaluate(() =>
        ["generate", "prove", "train", "stop"].map((id) => (document.getElementById(id) as HTMLButtonElement).disabled),
      );
    const drop = (name: string) =>
      page.evaluate(async (fileName) => {
        const bytes = await (await fetch("/models/opt-demo.predictor.gguf")).arrayBuffer();
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], fileName));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
      }, name);
    // An import from an address that does not answer yet, then one of a file, which ends while a run goes on: on a busy machine not the first time.
    await page.fill("#url", `${lab.site.origin}/models/held.predictor.gguf`);
    await page.click("#url-form button");
    await page.fill("#tokens", "500");
    for (let attempt = 0; attempt < 5; attempt++) {
      await page.waitForFunction(() => !(document.getElementById("generate") as HTMLButtonElement).disabled);
      await page.click("#generate");
      await page.waitForFunction(() => !(document.getElementById("stop") as HTMLButtonElement).disabled);
      await drop(`dropped-${attempt}.predictor.gguf`);
      await page.waitForFunction(
        (name) => document.getElementById("predictor")?.textContent?.includes(name),
        `dropped-${attempt}`,
      );
      if ((await buttons())[0]) break;
    }
    expect(await buttons()).toEqual([true, true, true, false]);
    await page.click("#stop");
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Stopped.");
    await page.waitForFunction(() => !(document.getElementById("generate") as HTMLButtonElement).disabled);
    expect(await buttons()).toEqual([false, false, false, true]);
    const text = (await page.textContent("#text")) ?? "";
    release();
    await page.waitForFunction(() => document.getElementById("predictor")?.textContent?.includes("held"));
    expect(await page.textContent("#error")).toBe("");
    expect(await page.textContent("#text")).toBe(text);
  });

  it("fits a phone: nothing is wider than the screen", async () => {
    const page = await visit({ viewport: { width: 375, height: 812 }, isMobile: true });
    await page.selectOption("#drafts", "lossless");
    await generate(page, 16);
    await expectFits(page);
  });

  it.each(["light", "dark"] as const)("is accessible: axe finds nothing serious (%s)", async (colorScheme) => {
    const page = await visit({ colorScheme });
    await generate(page, 16);
    await page.click("#simulate");
    await page.waitForFunction(() => document.querySelectorAll("#sim-table tbody tr").length === 5);
    // How much a lossless run drafts depends on what drafts cost here: it may leave too little to replay.
    await page.selectOption("#drafts", "lossless");
    await generate(page, 16);
    await page.click("#prove");
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Compared.");
    expect(await seriousFaults(page)).toEqual([]);
  });

  it("is not heavy: without models, and without the kernels that it never asks for, at most 305 kB compressed", () => {
    // The page has no switch for activations of eight bits, whose module is a file that only they fetch.
    const own = filesOf(dist).filter((file) => !file.startsWith("models/") && !file.includes("byte-module"));
    const compressed = own.reduce((sum, file) => sum + gzipSync(readFileSync(join(dist, file))).length, 0);
    expect(compressed).toBeLessThanOrEqual(305_000);
  });
});
