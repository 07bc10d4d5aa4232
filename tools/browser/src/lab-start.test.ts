/** The lab as a visitor finds it: what a first visit shows, what one click does, what stays folded, and what the self-test says. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { build, chromium } from "./capabilities.js";
import { filesOf, labFolder } from "./lab-site.js";
import { drawn, expectFits, seriousFaults, useLab } from "./lab-tests.js";
import { fold } from "./lab-visit.js";

/** Pictures are kept when asked for: FLASHWICK_SCREENSHOTS=1. */
const pictures = process.env.FLASHWICK_SCREENSHOTS
  ? fileURLToPath(new URL("../../../docs/pictures", import.meta.url))
  : null;
const DESK = { viewport: { width: 1280, height: 900 } } as const;
const PHONE = { viewport: { width: 375, height: 812 }, isMobile: true } as const;

describe.skipIf(build.isMissing || chromium.isMissing)(chromium.title(build.title("a first visit to the lab")), () => {
  const lab = useLab("lab-start");

  /** Loaded anew, so that everything is folded; with the self-test done and the settings predicted. */
  async function firstVisit(options: Parameters<typeof lab.visit>[0] = DESK): Promise<Page> {
    const page = await lab.visit(options);
    await page.evaluate(() => scrollTo(0, 0));
    await page.reload();
    await page.waitForFunction(
      () =>
        document.getElementById("kernels-line")?.dataset.ok !== undefined &&
        document.getElementById("prediction")?.textContent !== "",
    );
    return page;
  }

  const done = (page: Page) =>
    page.waitForFunction(() => document.getElementById("status")?.textContent?.startsWith("Done"));

  const keep = async (page: Page, name: string) => {
    await drawn(page);
    if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  };

  it.each([
    ["desk", "light", DESK, "lab-start", "lab-light"],
    ["desk", "dark", DESK, "lab-start-dark", "lab-dark"],
    ["phone", "light", PHONE, "lab-start-phone", "lab-phone"],
    ["phone", "dark", PHONE, "lab-start-phone-dark", "lab-phone-dark"],
  ] as const)(
    "one click answers, within the screen and accessible (%s, %s)",
    async (_, colorScheme, size, before, after) => {
      const page = await firstVisit({ ...size, colorScheme });
      await keep(page, before);
      await expectFits(page);
      expect(await seriousFaults(page)).toEqual([]);
      // The way to begin, and the field for a text of one's own, are there without scrolling.
      for (const id of ["#welcome .starter.primary:visible", "#prompt"]) {
        const { y, height } = (await page.locator(id).boundingBox())!;
        expect(y + height).toBeLessThanOrEqual(size.viewport.height);
      }
      await page.click("#welcome .starter.primary:visible");
      await done(page);
      expect(await page.isHidden("#welcome")).toBe(true);
      expect((await page.textContent("#text"))!.length).toBeGreaterThan(100);
      await keep(page, after);
      await expectFits(page);
      expect(await seriousFaults(page)).toEqual([]);
    },
  );

  it("begins without anything moving, and shows the map of a model that has not run", async () => {
    const page = await firstVisit();
    const shift = await page.evaluate(
      () =>
        new Promise<number>((resolve) => {
          let sum = 0;
          const add = (entries: PerformanceEntryList) => {
            for (const { value } of entries as (PerformanceEntry & { value: number })[]) sum += value;
          };
          const observer = new PerformanceObserver((list) => add(list.getEntries()));
          observer.observe({ type: "layout-shift", buffered: true });
          requestAnimationFrame(() =>
            requestAnimationFrame(() => {
              add(observer.takeRecords());
              resolve(sum);
            }),
          );
        }),
    );
    expect(shift).toBeLessThan(0.05);
    expect(await page.textContent("#map-text")).toBe(
      "8 layers of 1024 neurons, all on storage: none has been read yet.",
    );
    expect(await page.textContent("#speed-predicted")).toMatch(/^predicted \d+$/);
    expect(await page.textContent("#comparison-text")).toMatch(/^Predicted [\d.]+ ms for the preset opfs-chromium/);
  });

  it("shows predicted beside measured after a run, also once the settings have moved", async () => {
    const page = await firstVisit();
    const predicted = await page.textContent("#speed-predicted");
    await page.click("#welcome .starter.primary:visible");
    await done(page);
    await drawn(page);
    expect(await page.textContent("#speed")).toMatch(/^\d+$/);
    expect(await page.textContent("#speed-predicted")).toBe(predicted);
    expect(await page.textContent("#comparison-text")).toMatch(/^Predicted [\d.]+ ms .*; measured [\d.]+ ms\.$/);
    const before = await page.textContent("#prediction");
    await page.click("#settings > summary");
    await page.fill("#budget", "120");
    await page.waitForFunction((text) => document.getElementById("prediction")?.textContent !== text, before);
    expect(await page.textContent("#speed-predicted")).toBe(predicted);
  });

  it("folds everything else away, and opens it with the keyboard", async () => {
    const page = await firstVisit();
    const folded = ["#budget", "#url", "#dram-legend", "#prove", "#train", "#simulate", "#kernels-list"];
    for (const id of folded) expect(await page.isVisible(id), id).toBe(false);
    for (const id of ["models", "settings", "kernels", "memory-panel", "proving", "training", "caches"]) {
      await page.focus(`#${id} > summary`);
      await page.keyboard.press("Enter");
      expect(await page.$eval(`#${id}`, (panel) => (panel as HTMLDetailsElement).open), id).toBe(true);
    }
    for (const id of folded.filter((name) => name !== "#dram-legend")) expect(await page.isVisible(id), id).toBe(true);
    await expectFits(page);
    await page.focus("#prompt");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await done(page);
    await fold(page);
    for (const id of folded) expect(await page.isVisible(id), id).toBe(false);
  });

  it("offers the demo again where every model was deleted, and nothing that needs one", async () => {
    const page = await lab.visit();
    await page.click("#remove");
    await page.waitForFunction(() => document.body.dataset.view === "none");
    for (const id of ["#stage", "#settings", "#generate", "#message", "#model"]) {
      expect(await page.isHidden(id), id).toBe(true);
    }
    await expectFits(page);
    expect(await seriousFaults(page)).toEqual([]);
    await page.click("#restore-demo");
    await page.waitForFunction(() => document.body.dataset.view === "prompt");
    await page.click("#generate");
    await done(page);
  });

  it("names the kernels that it has tested", async () => {
    const page = await firstVisit();
    expect(await page.textContent("#kernels-line")).toMatch(
      /^✓ linear, ffn and \d+ more kernels: \d+ cases right, [\d.]+ s$/,
    );
    const kernels = await page.locator("#kernels-list li").allTextContents();
    expect(kernels.length).toBeGreaterThan(15);
    for (const kernel of kernels) expect(kernel).toMatch(/^[\w-]+: \d+ right$/);
  });

  it("says which kernel fails, and refuses a model that needs it", async () => {
    // The known checksum of "123456789", as RFC 3720 has it, made another: now the kernel is wrong.
    const file = filesOf(labFolder).find((name) => /conformance-.*\.js$/.test(name))!;
    const code = readFileSync(join(labFolder, file), "utf8");
    const wrong = code.replace(`${0xe3069283}`, "3808858756");
    expect(wrong).not.toBe(code);
    lab.site.serve(`/${file}`, "text/javascript", wrong);
    try {
      const page = await firstVisit();
      expect(await page.textContent("#kernels-line")).toMatch(/^✗ crc32c compute wrongly in this browser: .* refused$/);
      expect(await page.textContent("#kernels-list")).toMatch(/crc32c: .*expected 3808858756, found 3808858755/);
      await page.click("#generate");
      await page.waitForSelector("#error:not([hidden])");
      expect(await page.textContent("#error")).toMatch(
        /opt-demo\.gguf needs the kernel crc32c, which computes wrongly in this browser.*use another browser/,
      );
      expect(await page.textContent("#text")).toBe("In the beginning");
    } finally {
      lab.site.serve(`/${file}`, "text/javascript", code);
    }
  });
});
