/** The lab and a hub on this machine: planned from the header, fetched into the private file system, gone on with, and refused. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type HubServer, startHub } from "@flashwick/test-capabilities/hub-server";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { build, chromium } from "./capabilities.js";
import { expectFits, useLab } from "./lab-tests.js";
import { unfold } from "./lab-visit.js";

const fixtures = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/", import.meta.url));
const fixture = (name: string) => ({ bytes: new Uint8Array(readFileSync(join(fixtures, name))) });
const COMMIT = "d".repeat(40);
const split = [1, 2, 3].map((number) => `falcon-7b-0000${number}-of-00003.gguf`);

describe.skipIf(build.isMissing || chromium.isMissing)(chromium.title(build.title("the lab and a hub")), () => {
  const lab = useLab("lab-pull");
  let hub: HubServer;
  beforeAll(async () => {
    hub = await startHub();
    const revisions = { main: COMMIT };
    const files = ["qwen2.gguf", "gemma3.gguf", ...split].map((name) => [name, fixture(name)] as const);
    hub.repositories.set("tiny/several", { revisions, files: new Map(files) });
    const unknown = { bytes: new Uint8Array(5000).fill(7) };
    hub.repositories.set("tiny/noise", { revisions, files: new Map([["noise.gguf", unknown]]) });
  });
  afterAll(() => hub.close());
  beforeEach(() => hub.reset());

  /** The lab once more, with the hub on this machine for the real one. */
  async function visit(): Promise<Page> {
    const page = await lab.visit();
    await page.goto(`${lab.site.origin}/?hub=${encodeURIComponent(hub.endpoint)}`);
    await page.waitForFunction(() => document.getElementById("status")?.textContent === "Ready.");
    await unfold(page);
    return page;
  }

  async function pull(page: Page, what: string): Promise<void> {
    await page.fill("#url", what);
    await page.click("#url-form button");
  }

  const stored = (page: Page, name: string) =>
    page.waitForFunction((wanted) => document.getElementById("storage")?.dataset.models?.includes(wanted), name);
  const error = async (page: Page) => {
    await page.waitForFunction(() => document.getElementById("error")?.textContent !== "");
    return await page.textContent("#error");
  };

  it("pulls a model that then runs, and says before what it will do", async () => {
    const page = await visit();
    const said = page.waitForFunction(() => {
      const text = document.getElementById("status")?.textContent ?? "";
      return text.includes("it needs at least") ? text : null;
    });
    Object.assign(hub.faults, { passes: 1, holds: 1, heldAfter: 100_000 });
    await pull(page, "tiny/several/qwen2.gguf");
    expect(await (await said).jsonValue()).toMatch(
      /^qwen2\.gguf, 847 KiB: it needs at least .* of memory; [\d.]+ tokens a second are expected within .*\.$/,
    );
    await expectFits(page);
    // The plan is said before the download begins.
    await expect.poll(() => hub.breakHeld()).toBe(1);
    await stored(page, "qwen2.gguf");
    await page.selectOption("#model", "qwen2.gguf");
    await page.waitForFunction(() => document.body.dataset.weights === "matrices");
    expect(await page.textContent("#error")).toBe("");
  });

  it("finds out bytes that are not what the hub lists, and keeps nothing of them", async () => {
    const page = await visit();
    hub.faults.damage = (bytes) => bytes.map((byte, i) => (i === bytes.length - 9 ? byte ^ 1 : byte));
    await pull(page, "tiny/several/qwen2.gguf");
    expect(await error(page)).toMatch(/expected the sha256 [0-9a-f]{64} .*INTEGRITY_DOWNLOAD/);
    expect(await page.getAttribute("#storage", "data-models")).not.toContain("qwen2.gguf");
  });

  it.each([
    ["several models, of which none is named", "tiny/several", /has 3 models; give one of them: .*gemma3\.gguf/],
    ["a model in several files", `tiny/several/${split[1]}`, /several files; give one in a single file/],
    ["what is no model", "tiny/noise", /GGUF/],
    ["what could lead elsewhere", "tiny/../x", /expected <owner>/],
  ])("refuses %s", async (_, what, message) => {
    const page = await visit();
    await pull(page, what);
    expect(await error(page)).toMatch(message);
    expect(hub.seen.filter(({ server, range }) => server === "store" && range !== "bytes=0-7").length).toBeLessThan(2);
  });
});
