/** The page of `flashwick run --report` in a real Chromium, opened as the file that it is: it draws, loads nothing, and fits a phone. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { build, chromium, program } from "./capabilities.js";
import { launchProfile } from "./chromium.js";
import { expectFits, seriousFaults } from "./lab-tests.js";

/** Pictures are kept when asked for: FLASHWICK_SCREENSHOTS=1. */
const pictures = process.env.FLASHWICK_SCREENSHOTS
  ? fileURLToPath(new URL("../../../docs/pictures", import.meta.url))
  : null;
const TOKENS = 64;

describe.skipIf(build.isMissing || chromium.isMissing)(chromium.title(build.title("the page of a run")), () => {
  let dir: string;
  let context: BrowserContext | undefined;
  let visits = 0;
  const complaints: string[] = [];
  const requests: string[] = [];

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "flashwick-run-page-"));
    const flashwick = (...args: string[]) => execFileSync(process.execPath, [program, ...args, "--quiet"]);
    flashwick("demo", "--dir", dir, "--max-tokens", "1");
    const run = ["run", join(dir, "opt-demo.gguf"), "--prompt", "In the beginning", "--max-tokens", `${TOKENS}`];
    const budget = ["--dram-budget", "65%"];
    flashwick(...run, ...budget, "--report", join(dir, "sparse.html"));
    flashwick(...run, ...budget, "--lossless", "--report", join(dir, "lossless.html"));
    flashwick(...run, ...budget, "--dense", "--report", join(dir, "dense.html"));
  }, 120_000);
  afterAll(() => rmSync(dir, { recursive: true }));
  afterEach(async () => {
    await context?.close();
    expect(complaints.splice(0)).toEqual([]);
    expect(requests.splice(0).filter((url) => !/^(file|data):/.test(url))).toEqual([]);
  });

  async function open(name: string, options: Parameters<typeof launchProfile>[1] = {}): Promise<Page> {
    const viewport = { width: 1280, height: 900 };
    context = await launchProfile(join(dir, `profile-${visits++}`), { viewport, ...options });
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("request", (request) => requests.push(request.url()));
    await page.goto(pathToFileURL(join(dir, `${name}.html`)).href);
    return page;
  }

  /** Whether anything of a canvas is coloured. */
  async function hasInk(page: Page, id: string): Promise<boolean> {
    return await page.$eval(`#${id}`, (element) => {
      const canvas = element as HTMLCanvasElement;
      const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
      return data.some((byte) => byte > 0);
    });
  }

  async function keep(page: Page, name: string): Promise<void> {
    if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  }

  it("shows text, figures, every token's time, the map and the prediction", async () => {
    const page = await open("sparse", { colorScheme: "light" });
    expect(await page.textContent("h1")).toBe("opt-demo.gguf");
    expect(await page.textContent("#said")).toMatch(/^In the beginning./);
    expect(await page.textContent("dl")).toContain("tokens/s");
    for (const id of ["timeline", "spans", "map", "comparison"]) expect(await hasInk(page, id), id).toBe(true);
    expect(await page.textContent("table")).toMatch(/predicted.*measured.*a token/s);
    expect(await page.textContent("#step-number")).toBe(`${TOKENS - 1} of ${TOKENS - 1}`);
    expect(await seriousFaults(page)).toEqual([]);
    await keep(page, "run-page-light");
  });
  it("shows another token when one is chosen, with the keyboard or on the timeline", async () => {
    const page = await open("sparse");
    const said = async () => [await page.textContent("#step-text"), await page.textContent("#map-text")];
    const last = await said();
    await page.focus("#step");
    await page.keyboard.press("Home");
    expect(await page.textContent("#step-number")).toBe(`1 of ${TOKENS - 1}`);
    const first = await said();
    expect(first).not.toEqual(last);
    const { x, y, width } = (await page.locator("#timeline").boundingBox())!;
    await page.mouse.click(x + width - 2, y + 100);
    expect(await said()).toEqual(last);
  });
  it("is dark where the system is, and fits a phone", async () => {
    const dark = await open("sparse", { colorScheme: "dark" });
    expect(await seriousFaults(dark)).toEqual([]);
    await keep(dark, "run-page-dark");
    await context!.close();
    const phone = await open("sparse", { viewport: { width: 390, height: 844 }, colorScheme: "light" });
    await expectFits(phone);
    expect(await seriousFaults(phone)).toEqual([]);
    await keep(phone, "run-page-phone");
  });
  it("marks drafts under the tokens of the steps that verified them", async () => {
    const page = await open("lossless");
    expect(await page.textContent("#step-text")).toMatch(/\d+ of \d+ drafts accepted/);
    expect(await page.textContent("section:last-of-type")).toContain("nothing: runs with drafts");
    await keep(page, "run-page-drafts");
  });
  it("says of a dense run that every neuron was used", async () => {
    const page = await open("dense");
    expect(await page.textContent("#map-text")).toBe("This step used every neuron.");
    expect(await page.isVisible("#map")).toBe(false);
  });
});
