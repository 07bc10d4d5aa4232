/**
 * The documentation as `run docs` builds it: it builds without a complaint, and in a real Chromium, opened as files without a server, it can be
 * searched, fits a phone, and is accessible in light and dark.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromium } from "./capabilities.js";
import { launchChromium } from "./chromium.js";
import { seriousFaults } from "./lab-tests.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** Pictures are kept when asked for: FLASHWICK_DOCS_SCREENSHOTS=<folder>. */
const pictures = process.env.FLASHWICK_DOCS_SCREENSHOTS ?? null;

let out: string;
let build: { stdout: string; stderr: string };
beforeAll(async () => {
  out = mkdtempSync(join(tmpdir(), "docs-site-"));
  const script = here("../../docs-site/build-site.mjs");
  const failed = (error: { stdout: string; stderr: string }) => error;
  build = await promisify(execFile)(process.execPath, [script, out], { maxBuffer: 2 ** 24 }).catch(failed);
}, 300_000);
afterAll(() => rmSync(out, { recursive: true, force: true }));

it("builds: every exported symbol has a comment, and every link leads somewhere", () => {
  expect(build.stderr).toBe("");
  expect(build.stdout).toMatch(/index\.html$/m);
  expect(existsSync(join(out, "index.html"))).toBe(true);
});

describe.skipIf(chromium.isMissing)(chromium.title("the documentation in a browser"), () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
    if (pictures) mkdirSync(pictures, { recursive: true });
  }, 120_000);
  afterAll(() => browser?.close());

  /** Opens a page as a file, hands it over, and expects that it complained of nothing. */
  async function visit(
    path: string,
    options: BrowserContextOptions,
    look: (page: Page) => Promise<void>,
  ): Promise<void> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, offline: true, ...options });
    const complaints: string[] = [];
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    await page.goto(pathToFileURL(join(out, path)).href);
    await page.locator("#tsd-nav-container a").first().waitFor({ state: "attached" });
    await look(page);
    await context.close();
    expect(complaints).toEqual([]);
  }

  it("finds a guide and a symbol without a network", async () => {
    await visit("index.html", {}, async (page) => {
      for (const [words, expected] of [
        ["cache policy", "Write a cache policy"],
        ["openModel", "openModel"],
      ] as const) {
        await page.locator("#tsd-search-trigger").click();
        await page.locator("#tsd-search-input").fill(words);
        await page.locator("#tsd-search-results a", { hasText: expected }).first().waitFor();
        await page.keyboard.press("Escape");
      }
      expect(await page.locator("#tsd-search-results").count()).toBe(1);
    });
  });

  const PAGES = [
    "index.html",
    "documents/Run_a_model.html",
    "documents/Architecture.html",
    "modules/_flashwick_runtime.html",
  ];
  const PHONE = { width: 390, height: 844 };
  it.each(
    PAGES.flatMap((path) =>
      [{ colorScheme: "light" }, { colorScheme: "dark" }, { colorScheme: "light", viewport: PHONE }].map((options) => ({
        path,
        options: options as BrowserContextOptions,
        look: `${options.colorScheme}${"viewport" in options ? ", phone" : ""}`,
      })),
    ),
  )("$path is accessible, and no wider than the window ($look)", async ({ path, options, look }) => {
    await visit(path, options, async (page) => {
      const name = `${path.replaceAll("/", "-").replace(".html", "")}-${look.replace(", ", "-")}.png`;
      if (pictures) await page.screenshot({ path: join(pictures, name) });
      // What axe asks for by itself, a file may not.
      page.removeAllListeners("console");
      expect(await seriousFaults(page)).toEqual([]);
      const [contentWidth = 0, windowWidth = 0] = await page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        return [scrollWidth, clientWidth];
      });
      expect(contentWidth).toBeLessThanOrEqual(windowWidth);
    });
  });
});
