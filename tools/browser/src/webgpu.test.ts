/**
 * The conformance table on WebGPU: in Node on the `webgpu` package and in Chromium, both on SwiftShader, which computes on the processor. The cases and
 * their tolerances are those of every backend; those of training and of the host (selectAbove, checksums) are not the device's.
 */
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { conformanceCases, titleOf } from "@flashwick/kernels/conformance";
import { build } from "esbuild";
import { beforeAll, describe, expect, it } from "vitest";
import { bundle } from "./bundle.js";
import { launchChromium, unpackChromium } from "./chromium.js";
import { DEVICE_OPS } from "./gpu-driver.js";
import type { DeviceTable } from "./gpu-host.js";
import { openSite } from "./site.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const cases = conformanceCases.filter(({ op }) => DEVICE_OPS.has(op));

async function inNode(): Promise<DeviceTable> {
  const folder = here("../node_modules/.cache/webgpu/");
  mkdirSync(folder, { recursive: true });
  for (const name of ["gpu-host-node", "gpu-driver-node"]) {
    await build({
      entryPoints: [here(`${name}.ts`)],
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node20",
      conditions: ["flashwick-source"],
      external: ["webgpu"],
      outfile: join(folder, `${name}.mjs`),
      logLevel: "silent",
    });
  }
  const { libraries, icd } = await unpackChromium();
  const env = { ...process.env, VK_ICD_FILENAMES: icd, LD_LIBRARY_PATH: libraries.join(":") };
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "gpu-host-node.mjs")], {
    env,
    maxBuffer: 2 ** 26,
  });
  // The device's own complaints, if it has any, stand before.
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
}

async function inChromium(): Promise<DeviceTable> {
  const site = await openSite();
  site.serve("/", "text/html", `<!doctype html><script type="module" src="/gpu-host-page.js"></script>`);
  for (const name of ["gpu-host-page", "gpu-driver-page"]) {
    site.serve(`/${name}.js`, "text/javascript", await bundle(here(`${name}.ts`)));
  }
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    const failed = new Promise<never>((_, reject) => page.on("pageerror", reject));
    await page.goto(site.origin);
    await Promise.race([failed, page.waitForFunction(() => "table" in window, null, { timeout: 120_000 })]);
    return await page.evaluate(() => (window as unknown as { table: DeviceTable }).table);
  } finally {
    await browser.close();
    await site.close();
  }
}

describe.each([
  ["Node", inNode],
  ["Chromium", inChromium],
] as const)("WebGPU in %s", (_, run) => {
  let table: DeviceTable;
  beforeAll(async () => {
    table = await run();
  }, 400_000);

  it("ran every case that is a device's", () => {
    expect(table.adapter).toMatch(/swiftshader/i);
    expect(table.results.map(({ title }) => title)).toEqual(cases.map(titleOf));
  });
  it.each(cases.map((c) => [titleOf(c)]))("%s", (title) => {
    expect(table.results.find((result) => result.title === title)?.failure).toBeNull();
  });
});
