import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { type DeviceTuning, measureDevice, tuningOf } from "./device-tuning.js";
import { openFlashFile } from "./flash-file.js";
import { openFlashReader } from "./flash-reader.js";
import { cacheFolder, keepTuning, readKeptTuning } from "./kept-tuning.js";

const dir = mkdtempSync(join(tmpdir(), "device-tuning-"));
const path = join(dir, "file.bin");
writeFileSync(path, new Uint8Array(2 ** 21));
const file = openFlashFile(path, "auto");
file.close();
afterAll(() => rmSync(dir, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

const KIB = 1024;
/** A device with t(s) = operation + s / bandwidth, up to a ceiling. */
const device = (operationSec: number, bandwidth: number, ceiling = Number.POSITIVE_INFINITY) =>
  [4, 8, 16, 32, 64, 128].map((kib) => ({
    sizeBytes: kib * KIB,
    bytesPerSec: Math.min(ceiling, (kib * KIB) / (operationSec + (kib * KIB) / bandwidth)),
  }));
const depths = [
  { readers: 1, bytesPerSec: 100 },
  { readers: 4, bytesPerSec: 300 },
  { readers: 8, bytesPerSec: 480 },
  { readers: 16, bytesPerSec: 500 },
];

describe("tuningOf", () => {
  it("takes the fewest readers within 5 % of the best", () => {
    expect(tuningOf(depths, device(1e-5, 2e9)).readers).toBe(8);
  });
  it("finds operation and bandwidth, and the gap that costs as much as an operation", () => {
    const tuning = tuningOf(depths, device(1e-5, 2e9));
    expect(tuning.operationUs).toBeCloseTo(10, 6);
    expect(tuning.bandwidthBytesPerSec).toBeCloseTo(2e9, 0);
    expect(tuning.mergeGapBytes).toBe(Math.floor(20_000 / 4 / 512) * 512);
  });
  it("merges nothing on a device that is bound by bytes at every size", () => {
    expect(tuningOf(depths, device(1e-5, 20e9, 1e8)).mergeGapBytes).toBe(0);
  });
  it("makes no sense of noise", () => {
    const noise = [10, 1e6, 3, 1e8].map((bytesPerSec, i) => ({ sizeBytes: 4096 << i, bytesPerSec }));
    const tuning = tuningOf(depths, noise);
    expect(tuning.mergeGapBytes).toBeGreaterThanOrEqual(0);
    expect(tuning.operationUs).toBeGreaterThanOrEqual(0);
  });
});

describe("kept tuning", () => {
  const tuning: DeviceTuning = tuningOf(depths, device(1e-5, 2e9));
  const place = { device: "2049", host: "here", folder: join(dir, "cache") };

  it("comes back, and leaves no temporary file", () => {
    expect(readKeptTuning(place)).toBeNull();
    keepTuning(place, tuning, new Date(0));
    expect(readKeptTuning(place)).toEqual(tuning);
    expect(readdirSync(place.folder)).toEqual(["device-2049.json"]);
  });
  it("ignores what is another's, of another version, insane or not JSON", () => {
    keepTuning(place, tuning, new Date(0));
    expect(readKeptTuning({ ...place, host: "there" })).toBeNull();
    const kept = join(place.folder, "device-2049.json");
    const text = readFileSync(kept, "utf8");
    for (const broken of [
      text.replace('"schemaVersion": 1', '"schemaVersion": 2'),
      text.replace('"readers": 8', '"readers": 1e9'),
      text.slice(0, 100),
      "null",
      "{}",
    ]) {
      writeFileSync(kept, broken);
      expect(readKeptTuning(place)).toBeNull();
    }
  });
  it("does not mind a folder that cannot be written", () => {
    keepTuning({ ...place, folder: join(path, "below-a-file") }, tuning, new Date(0));
    expect(readKeptTuning({ ...place, folder: join(path, "below-a-file") })).toBeNull();
  });
  it("lies in the user's cache folder of the platform", () => {
    expect(cacheFolder({ FLASHWICK_CACHE_DIR: "x", XDG_CACHE_HOME: "y" }, "linux")).toBe("x");
    expect(cacheFolder({ XDG_CACHE_HOME: "y" }, "linux")).toBe(join("y", "flashwick"));
    expect(cacheFolder({ LOCALAPPDATA: "z" }, "win32")).toBe(join("z", "flashwick"));
    expect(cacheFolder({}, "darwin")).toContain(join("Library", "Caches", "flashwick"));
  });
});

describe("openFlashReader", () => {
  it.skipIf(!file.access.direct)(
    "uses the kept tuning for what is auto, and defaults for a small file without one",
    async () => {
      vi.stubEnv("FLASHWICK_CACHE_DIR", join(dir, "user-cache"));
      const fresh = await openFlashReader(path);
      expect([fresh.readers, fresh.mergeGapBytes]).toEqual([16, 0]);
      await fresh.close();
      keepTuning({ device: file.device }, tuningOf(depths, device(1e-5, 2e9)), new Date(0));
      const tuned = await openFlashReader(path, { readers: 2 });
      expect([tuned.readers, tuned.mergeGapBytes]).toEqual([2, 4608]);
      await tuned.close();
    },
  );
  it("refuses numbers out of range and missing files", async () => {
    await expect(openFlashReader(path, { readers: 0 })).rejects.toMatchObject({ code: "INPUT_INVALID" });
    await expect(openFlashReader(path, { mergeGapBytes: -1 })).rejects.toMatchObject({ code: "INPUT_INVALID" });
    await expect(openFlashReader(join(dir, "none"))).rejects.toMatchObject({ code: "IO_NOT_FOUND" });
  });
});

describe("measureDevice", () => {
  it.skipIf(!file.access.direct)("measures every depth and size, and stops when told to", async () => {
    const tuning = await measureDevice(path, { seconds: 0.1 });
    expect(tuning.depths.map((rate) => rate.readers)).toEqual([1, 4, 8, 16, 32]);
    expect(tuning.sizes.map((rate) => rate.sizeBytes)).toEqual([4, 8, 16, 32, 64, 128].map((kib) => kib * KIB));
    for (const { bytesPerSec } of [...tuning.depths, ...tuning.sizes]) expect(bytesPerSec).toBeGreaterThan(0);
    const stop = new Error("stop");
    await expect(measureDevice(path, { signal: AbortSignal.abort(stop) })).rejects.toBe(stop);
  });
  it.skipIf(process.platform !== "linux")("refuses to measure the page cache", async () => {
    await expect(measureDevice("/proc/self/mem")).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
  });
});
