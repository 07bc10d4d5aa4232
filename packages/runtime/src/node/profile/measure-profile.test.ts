/** A quick profile of the device under the temporary folder: that it is whole and sane; what it says is the machine's affair. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseDeviceProfile } from "@flashwick/cost-model";
import { afterAll, describe, expect, it } from "vitest";
import { measureProfile } from "./measure-profile.js";

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
