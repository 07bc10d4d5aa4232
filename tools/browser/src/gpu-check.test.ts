/** tools/gpu-check packs itself, and what it has packed runs where nothing of this checkout can be reached: on SwiftShader, which computes on the processor. */
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { conformanceCases } from "@flashwick/kernels/conformance";
import { DEVICE_DTYPES } from "@flashwick/kernels-webgpu";
import { isDeviceCase } from "@flashwick/kernels-webgpu/conformance";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { build, webgpu } from "./capabilities.js";
import { unpackChromium } from "./chromium.js";
import { swiftShaderEnvironment } from "./gpu-process.js";

const MOST_BYTES = 60e6;
const packer = fileURLToPath(new URL("../../gpu-check/pack.mjs", import.meta.url));
const run = promisify(execFile);

/** What the test looks at of the report. */
interface Report {
  readonly device: { readonly adapter: string };
  readonly conformance: { readonly cases: number; readonly failures: readonly unknown[] };
  readonly bandwidth: Readonly<Record<string, number>>;
  readonly kernels: readonly (Readonly<Record<string, number>> & { readonly dtype: string })[];
  readonly models: readonly {
    readonly name: string;
    readonly memory: string;
    readonly dtypes: readonly string[];
    readonly webgpuTokensPerSec: number;
    readonly wasmTokensPerSec: number;
    readonly largestLogitDifference: number;
    readonly sameTokens: number;
    readonly sameBitsAsResident: boolean | null;
  }[];
  readonly passed: boolean;
}

describe.skipIf(build.isMissing || webgpu.isMissing)(webgpu.title(build.title("a packed gpu-check")), () => {
  const root = mkdtempSync(join(tmpdir(), "flashwick-gpu-check-"));
  const [packed, elsewhere, driver] = ["packed", "elsewhere", "driver"].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  const json = join(elsewhere, "report.json");
  /** Nothing of the environment but a driver, as a machine has one. */
  const runPacked = (manifest: string, ...args: string[]) =>
    run("/bin/sh", [join(packed, "run.sh"), ...args], { cwd: elsewhere, env: { VK_ICD_FILENAMES: manifest } });
  let packedBytes = 0;
  let report: Report;

  beforeAll(async () => {
    const { icd } = await unpackChromium();
    for (const folder of [elsewhere, driver]) mkdirSync(folder);
    for (const name of ["libvk_swiftshader.so", "vk_swiftshader_icd.json"]) {
      copyFileSync(join(dirname(icd), name), join(driver, name));
    }
    // With Chromium's loader, so that the packed folder has one wherever it is packed.
    await run(process.execPath, [packer, packed], { env: await swiftShaderEnvironment() });
    packedBytes = bytesOf(packed);
    await runPacked(join(driver, "vk_swiftshader_icd.json"), "--json", json, "--weight-mib", "1", "--tokens", "8");
    report = JSON.parse(readFileSync(json, "utf8"));
  }, 1_800_000);

  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it("is small enough to be sent", () => {
    expect(packedBytes).toBeGreaterThan(1e6);
    expect(packedBytes).toBeLessThan(MOST_BYTES);
    expect(statSync(join(packed, "loader/libvulkan.so.1")).size).toBeGreaterThan(0);
  });

  it("passes every case of the conformance table that is a device's", () => {
    expect(report.device.adapter).toMatch(/swiftshader/i);
    expect(report.conformance).toEqual({ cases: conformanceCases.filter(isDeviceCase).length, failures: [] });
    expect(report.passed).toBe(true);
  });

  it("gives figures of the device's memory, and of every type beside them", () => {
    for (const value of Object.values(report.bandwidth)) expect(value).toBeGreaterThan(0);
    expect([...new Set(report.kernels.map(({ dtype }) => dtype))]).toEqual(DEVICE_DTYPES);
    for (const { ms, gbPerSec, gmacPerSec, shareOfRead } of report.kernels) {
      for (const value of [ms, gbPerSec, gmacPerSec, shareOfRead]) expect(value).toBeGreaterThan(0);
    }
  });

  it("runs a demo and files of all four block types, resident and streamed", () => {
    expect(report.models.map(({ memory }) => memory)).toEqual(
      report.models.map((_, i) => ["resident", "streamed"][i % 2]),
    );
    const dtypes = report.models.flatMap((model) => model.dtypes);
    for (const dtype of ["int8", "q4_0", "q8_0", "q4_k", "q6_k"]) expect(dtypes).toContain(dtype);
    for (const model of report.models) {
      expect(model.webgpuTokensPerSec).toBeGreaterThan(0);
      expect(model.wasmTokensPerSec).toBeGreaterThan(0);
      expect(model.sameTokens).toBeGreaterThan(0);
      expect(model.largestLogitDifference).toBeLessThan(2e-2);
      if (model.memory === "streamed") expect(model.sameBitsAsResident).toBe(true);
    }
  });

  it("says what is missing where there is no driver", async () => {
    await expect(runPacked("/nowhere/icd.json")).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no adapter was found[\s\S]*\/nowhere\/icd\.json.*is not there; install/),
    });
  });

  it("is not packed over what is there", async () => {
    await expect(run(process.execPath, [packer, packed])).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("is not empty"),
    });
  });
});

function bytesOf(folder: string): number {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.reduce(
    (sum, entry) => sum + (entry.isFile() ? statSync(join(entry.parentPath, entry.name)).size : 0),
    0,
  );
}
