/** A quick profile of the device under the temporary folder: that it is whole and sane; what it says is the machine's affair. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseDeviceProfile } from "@flashwick/cost-model";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { briefProfile } from "./brief-profile.js";
import { readBriefProfile } from "./kept-profile.js";
import { measureBriefProfile, measureProfile } from "./measure-profile.js";

const folder = mkdtempSync(join(tmpdir(), "flashwick-profile-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("measureProfile", () => {
  it("is a document that the cost model takes, says how far it was measured, and leaves no file", {
    timeout: 120_000,
  }, async () => {
    const phases = new Set<string>();
    const profile = await measureProfile({
      path: folder,
      quick: true,
      onProgress: ({ phase }) => void phases.add(phase),
    });
    expect(parseDeviceProfile(JSON.parse(JSON.stringify(profile)), "measured")).toEqual(profile);
    expect(profile.source).toMatch(/quick$/);
    expect(profile.flash.reads.length).toBeGreaterThan(0);
    expect(profile.flash.reads.every(({ spread }) => spread !== null && spread >= 0)).toBe(true);
    expect(profile.dramBytesPerSec).toBeGreaterThan(0);
    expect(phases.size).toBeGreaterThan(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("stops when it is told to, with the signal's own reason, and leaves no file", async () => {
    const interrupt = new AbortController();
    const reason = new Error("enough");
    const stop = () => interrupt.abort(reason);
    await expect(
      measureProfile({ path: folder, quick: true, signal: interrupt.signal, onProgress: stop }),
    ).rejects.toBe(reason);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("a folder that is not there is a typed error", async () => {
    await expect(measureProfile({ path: join(folder, "none"), quick: true })).rejects.toMatchObject({
      code: "IO_NOT_FOUND",
    });
  });
});

describe("measureBriefProfile", () => {
  it("is a document that the cost model takes, of few sizes that are measured once, and leaves no file", async () => {
    const profile = await measureBriefProfile({ path: folder });
    expect(parseDeviceProfile(JSON.parse(JSON.stringify(profile)), "measured")).toEqual(profile);
    expect([profile.name, profile.source]).toEqual([
      expect.stringMatching(/measured within a second$/),
      expect.stringMatching(/brief$/),
    ]);
    expect(profile.flash.reads.every(({ spread }) => spread === null)).toBe(true);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("briefProfile", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("is measured once for a small file, through the page cache on one thread, and kept", async () => {
    vi.stubEnv("FLASHWICK_CACHE_DIR", join(folder, "cache"));
    const path = join(folder, "small.gguf");
    writeFileSync(path, new Uint8Array(300_001));
    const profile = await briefProfile({ path });
    expect(parseDeviceProfile(JSON.parse(JSON.stringify(profile)), "measured")).toEqual(profile);
    expect(profile).toMatchObject({ cores: 1, flash: { mode: "buffered" } });
    // Whatever is measured twice differs.
    expect(await briefProfile({ path })).toEqual(profile);
    expect(readBriefProfile(path, true)).toEqual(profile);
    expect(readBriefProfile(path, false)).toBeNull();
  });

  it("is measured in a folder as for a large file, and leaves nothing there", async () => {
    vi.stubEnv("FLASHWICK_CACHE_DIR", join(folder, "cache-of-folders"));
    const place = join(folder, "place");
    mkdirSync(place);
    const profile = await briefProfile({ path: place });
    expect(profile.source).toMatch(/brief$/);
    expect(readdirSync(place)).toEqual([]);
    expect(readBriefProfile(place, false)).toEqual(profile);
  });
});

it("left a file of a GiB where a measurement was killed: the next one there removes it", async () => {
  const place = join(folder, "killed");
  mkdirSync(place);
  const { pid: dead } = spawnSync(process.execPath, ["--version"]);
  for (const name of [dead, process.ppid]) writeFileSync(join(place, `.flashwick-profile-${name}`), "noise");
  await expect(measureBriefProfile({ path: place, signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
  expect(readdirSync(place)).toEqual([`.flashwick-profile-${process.ppid}`]);
});
