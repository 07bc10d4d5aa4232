/**
 * The conformance table on WebGPU: in Node on the `webgpu` package and in Chromium, both on SwiftShader, which computes on the processor. The cases and
 * their tolerances are those of every backend; those of training and of the host (checksums) are not the device's.
 */
import { fileURLToPath } from "node:url";
import { conformanceCases, titleOf } from "@flashwick/kernels/conformance";
import { type DeviceTable, isDeviceCase } from "@flashwick/kernels-webgpu/conformance";
import { beforeAll, describe, expect, it } from "vitest";
import { bundle } from "./bundle.js";
import { webgpu } from "./capabilities.js";
import { launchChromium } from "./chromium.js";
import { runOnDevice } from "./gpu-process.js";
import { openSite } from "./site.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const cases = conformanceCases.filter(isDeviceCase);

const inNode = (...flags: string[]) => runOnDevice<DeviceTable>(["gpu-host-node", "gpu-driver-node"], flags);

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

describe.skipIf(webgpu.isMissing).each([
  ["Node", true, () => inNode()],
  ["Node, without subgroups", false, () => inNode("--no-subgroups")],
  ["Chromium", null, inChromium],
] as const)(webgpu.title("WebGPU in %s"), (_, subgroups, run) => {
  let table: DeviceTable;
  beforeAll(async () => {
    table = await run();
  }, 400_000);

  it("ran every case that is a device's", () => {
    expect(table.adapter).toMatch(/swiftshader/i);
    if (subgroups !== null) expect(table.subgroups).toBe(subgroups);
    expect(table.results.map(({ title }) => title)).toEqual(cases.map(titleOf));
  });
  it.each(cases.map((c) => [titleOf(c)]))("%s", (title) => {
    expect(table.results.find((result) => result.title === title)?.failure).toBeNull();
  });
});

it.skipIf(webgpu.isMissing)(webgpu.title("the README's example multiplies a matrix on the device"), async () => {
  const readme = fileURLToPath(new URL("../../../packages/kernels-webgpu/README.md", import.meta.url));
  expect(await runOnDevice(["gpu-readme-node"], [readme])).toEqual([[-2, -2]]);
});
