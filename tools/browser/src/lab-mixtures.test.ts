/**
 * The lab with mixtures of experts, as built, in a real Chromium: files of llama.cpp's, imported into the private file system, run token for token as
 * Node runs them; and the page speaks of experts.
 */
import { statSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { openModel } from "@flashwick/runtime/node";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { build, chromium } from "./capabilities.js";
import { drawn, expectFits, predictionAt, seriousFaults, useLab, type VisitOptions } from "./lab-tests.js";

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../../packages/runtime/fixtures/gguf/${name}.gguf`, import.meta.url));
const PROMPT = "In the beginning";
const TOKENS = 24;

/** Two layers each; experts of a layer, and those that a token uses. */
const MIXTURES = [
  { name: "olmoe", count: 8, chosen: 3, percent: 80 },
  { name: "mixtral", count: 4, chosen: 2, percent: 65 },
] as const;

describe.skipIf(build.isMissing || chromium.isMissing)(chromium.title(build.title("the lab with a mixture")), () => {
  const lab = useLab("lab-mixtures");

  async function visitWith(name: string, options: VisitOptions = {}): Promise<Page> {
    const page = await lab.visit(options);
    await page.setInputFiles("#file", fixture(name));
    const file = basename(fixture(name));
    await page.waitForFunction(
      (wanted) => document.getElementById("storage")?.dataset.models?.split(" ").includes(wanted),
      file,
      { timeout: 60_000 },
    );
    await page.selectOption("#model", file);
    await page.waitForFunction(() => document.body.dataset.weights === "experts");
    return page;
  }

  async function generate(page: Page, percent: number): Promise<string> {
    await page.fill("#budget", `${percent}`);
    await page.fill("#tokens", `${TOKENS}`);
    await page.click("#generate");
    await page.waitForFunction(
      () => /^(Done|Stopped)/.test(document.getElementById("status")?.textContent ?? ""),
      null,
      { timeout: 60_000 },
    );
    expect(await page.textContent("#error")).toBe("");
    await drawn(page);
    return (await page.textContent("#text"))!;
  }

  /** Cells of the map by the state whose colour their middles have. @param across From one cell to the next, CSS pixels. */
  const cellsOf = (page: Page, rows: number, columns: number, across: number) =>
    page.$eval(
      "#map",
      (canvas, { rows, columns, across }) => {
        const context = (canvas as HTMLCanvasElement).getContext("2d")!;
        const [style, scale] = [getComputedStyle(canvas), devicePixelRatio];
        const colourOf = (name: string) => {
          const probe = document.createElement("span");
          probe.style.color = `var(${name})`;
          canvas.parentElement!.append(probe);
          const [r, g, b] = getComputedStyle(probe).color.match(/\d+/g)!;
          probe.remove();
          return `${r},${g},${b}`;
        };
        const names = ["away", "resident", "awake", "fetched"];
        const byColour = new Map(names.map((name) => [colourOf(`--${name}`), name]));
        const counts: Record<string, number> = { wide: Number.parseFloat(style.width) };
        for (let cell = 0; cell < rows * columns; cell++) {
          const [x, y] = [(cell % columns) + 0.5, Math.floor(cell / columns) + 0.5].map((at) =>
            Math.floor(at * across * scale),
          );
          const [r, g, b] = context.getImageData(x!, y!, 1, 1).data;
          const name = byColour.get(`${r},${g},${b}`) ?? "unknown";
          counts[name] = (counts[name] ?? 0) + 1;
        }
        return counts;
      },
      { rows, columns, across },
    );

  it.each(MIXTURES)(
    "runs $name token for token as Node does, and shows which experts were there",
    async ({ name, count, chosen, percent }) => {
      const page = await visitWith(name);
      expect(await page.textContent("#model-text")).toContain(
        `A mixture of experts: 2 layers with ${count} experts, of which a token uses ${chosen}`,
      );
      const text = await generate(page, percent);
      const expected = await inNode(fixture(name), percent);
      expect(text).toBe(PROMPT + expected.text);
      const used = 2 * chosen;
      const mapText = (await page.textContent("#map-text"))!;
      const [, shown, fetched] = /^2 layers of \d experts\. Last token: (\d+) chosen \([\d.]+ %\), (\d+) of them/
        .exec(mapText)!
        .map(Number);
      expect(shown).toBe(used);
      const cells = await cellsOf(page, 2, count, 24);
      expect((cells.awake ?? 0) + (cells.fetched ?? 0)).toBe(used);
      expect(cells.fetched ?? 0).toBe(fetched);
      expect(cells.unknown).toBeUndefined();
      const facts = await page.$eval("#facts", (list) => ({ ...(list as HTMLElement).dataset }));
      expect(Number(facts.cacheHitShare)).toBe(expected.hitShare);
      expect(Number(facts.cacheHitShare)).toBeGreaterThan(0);
      expect(Number(facts.cacheHitShare)).toBeLessThan(1);
      expect(Number(facts.slowestMs)).toBeGreaterThanOrEqual(Number(facts.p50Ms));
      const figures = await page.textContent("#facts");
      // What the map shows is what the step counted.
      const held = ((100 * (used - fetched!)) / used).toFixed(1);
      expect(figures).toContain(`found in memory${held} %`);
      expect(figures).toMatch(
        /every expert would be[\d.]+ KiB.*… of all tokens so far[\d.]+ %.*slowest token[\d.]+ ms/,
      );
      await page.click("#simulate");
      await page.waitForSelector("#sim-table tbody tr");
      expect(await page.textContent("#sim-text")).toContain(`of the experts named by ${TOKENS - 1} tokens`);
    },
    120_000,
  );

  it("drafts by lookup, and says the same", async () => {
    const page = await visitWith("olmoe");
    const plain = await generate(page, 200);
    await page.selectOption("#drafts", "lookup");
    expect(await generate(page, 200)).toBe(plain);
    expect(await page.isDisabled("#drafts option[value=lossless]")).toBe(true);
  });

  /** What the map's title and legend are shown to say of neurons or experts. */
  const wordsOf = (page: Page) =>
    page.locator("section:has(#map) :is(.of-neurons, .of-experts):visible").allTextContents();

  it("hides what a mixture has no use for, says why, and speaks of neurons again for another model", async () => {
    const page = await visitWith("olmoe");
    const [ofNeurons, ofCaches] = [
      ["#prove", "#train", "#predictor", "#threshold", "#proof-panel"],
      ["#map", "#window", "#policy", "#simulate"],
    ];
    for (const id of ofNeurons) expect(await page.isHidden(id), id).toBe(true);
    for (const id of ofCaches) expect(await page.isVisible(id), id).toBe(true);
    expect(await page.isDisabled("#backend option[value=webgpu]")).toBe(true);
    expect(await page.textContent("#backend option[value=webgpu]")).toMatch(/: not (for experts|in this browser)$/);
    expect(await page.textContent("#model-text")).toMatch(/routers say which.*no predictor to train, no threshold/);
    expect(await wordsOf(page)).toEqual(["Experts", "chosen", "chosen"]);
    await page.selectOption("#model", "opt-demo.gguf");
    await page.waitForFunction(() => document.body.dataset.weights === "records");
    for (const id of ["#prove", "#train", "#threshold", ...ofCaches]) expect(await page.isVisible(id), id).toBe(true);
    expect(await wordsOf(page)).toEqual(["Neurons", "awake", "awake"]);
  });

  it("predicts, and says where memory holds less than a token uses, or too little to run", async () => {
    const page = await visitWith("olmoe");
    const predicted = (percent: number) => predictionAt(page, percent);
    expect(await predicted(200)).toMatch(/^Predicted: \d+ tokens a second, [^;]*$/);
    expect(await predicted(57)).toMatch(
      / Memory holds fewer experts than one token uses; [\d.]+ [KM]iB would hold them\.$/,
    );
    expect(await predicted(15)).toMatch(/cannot run like this.*(smallest|at least)/);
  });

  it.each(["light", "dark"] as const)(
    "fits a phone and is accessible: axe finds nothing serious (%s)",
    async (colorScheme) => {
      const page = await visitWith("olmoe", { colorScheme, viewport: { width: 375, height: 812 }, isMobile: true });
      await generate(page, 200);
      await expectFits(page);
      expect(await seriousFaults(page)).toEqual([]);
    },
  );
});

/** What Node says within the same budget, and the share of experts that it found in memory. */
async function inNode(path: string, percent: number): Promise<{ text: string; hitShare: number }> {
  const dramBudgetBytes = Math.floor((percent / 100) * statSync(path).size);
  const model = await openModel(path, { dramBudgetBytes, profile: null, io: "buffered" });
  let [text, hits, asked] = ["", 0, 0];
  for await (const item of model.generate(model.tokenizer.encode(PROMPT, true), {
    maxTokens: TOKENS,
    ignoreEos: true,
  })) {
    text += item.text;
    hits += item.stats?.cacheHits ?? 0;
    asked += (item.stats?.cacheHits ?? 0) + (item.stats?.cacheMisses ?? 0);
  }
  await model.close();
  return { text, hitShare: hits / asked };
}
