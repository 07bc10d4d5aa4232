/** A visit to the lab, in a profile of its own. */
import type { BrowserContext, Page } from "playwright-core";
import { launchProfile } from "./chromium.js";

export interface LabVisit {
  readonly context: BrowserContext;
  readonly page: Page;
}

/**
 * Opens the lab, waits until it is ready, and unfolds it.
 *
 * @param profile    A folder on disk: in a private window each read of storage takes 0.2 ms, and the page would show that.
 * @param complaints Filled with what the page complains of: uncaught errors, and errors on its console.
 */
export async function visitLab(
  origin: string,
  profile: string,
  complaints: string[],
  options: Parameters<typeof launchProfile>[1] = {},
): Promise<LabVisit> {
  const context = await launchProfile(profile, { viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(origin);
  await page.waitForFunction(() => document.getElementById("status")?.textContent === "Ready.", null, {
    timeout: 30_000,
  });
  await unfold(page);
  return { context, page };
}

/** Opens what is folded away, as a person does: by a click on each title that is there. A page that is loaded anew has folded everything. */
export async function unfold(page: Page): Promise<void> {
  const title = page.locator("details:not([open]) > summary:visible").first();
  while ((await title.count()) > 0) await title.click();
}

/** Closes everything again, as a first visit finds it. */
export async function fold(page: Page): Promise<void> {
  const title = page.locator("details[open] > summary:visible").last();
  while ((await title.count()) > 0) await title.click();
  await page.evaluate(() => scrollTo(0, 0));
}
