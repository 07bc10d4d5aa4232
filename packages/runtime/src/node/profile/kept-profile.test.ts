import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { profile } from "../../profile.fixture.js";
import { keepBriefProfile, keepProfile, readBriefProfile, readKeptProfile } from "./kept-profile.js";

const root = mkdtempSync(join(tmpdir(), "flashwick-kept-"));
let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(root, `${count++}`, "cache");
});
afterAll(() => rmSync(root, { recursive: true }));

const keep = (host = "here") => keepProfile(root, profile, new Date("2026-01-02T03:04:05Z"), folder, host);

describe("kept profiles", () => {
  it("comes back as it was measured, and replaces an older one whole", () => {
    expect(keep()).not.toBeNull();
    expect(readKeptProfile(root, folder, "here")).toEqual(profile);
    keepProfile(root, { ...profile, name: "measured later" }, new Date(), folder, "here");
    expect(readKeptProfile(root, folder, "here")!.name).toBe("measured later");
    expect(readdirSync(folder)).toHaveLength(1);
  });

  it("another host's, a damaged one and none at all are as good as absent", () => {
    expect(readKeptProfile(root, folder, "here")).toBeNull();
    const file = keep("there")!;
    expect(readKeptProfile(root, folder, "here")).toBeNull();
    const text = readFileSync(file, "utf8");
    for (const damaged of [
      "{",
      text.replace('"schemaVersion": 2', '"schemaVersion": 1'),
      text.replace(/"cores": \d+/, '"cores": -1'),
    ]) {
      expect(damaged).not.toBe(text);
      writeFileSync(file, damaged);
      expect(readKeptProfile(root, folder, "there")).toBeNull();
    }
  });

  it("a folder that cannot be made is no error: the next run goes without", () => {
    writeFileSync(join(root, "file"), "");
    expect(keepProfile(root, profile, new Date(), join(root, "file", "cache"), "here")).toBeNull();
  });
});

describe("brief profiles", () => {
  const keepBrief = (isSmallFile: boolean) =>
    keepBriefProfile(root, isSmallFile, profile, new Date("2026-01-02T03:04:05Z"), folder, "here");

  it("come back beside the others, stamped with machine and folder, and do not take their place", () => {
    const file = keepBrief(false)!;
    expect(readBriefProfile(root, false, folder, "here")).toEqual(profile);
    expect(readKeptProfile(root, folder, "here")).toBeNull();
    const kept = JSON.parse(readFileSync(file, "utf8"));
    expect(kept).toMatchObject({ host: "here", measuredAt: "2026-01-02T03:04:05.000Z", isOfSmallFile: false });
    expect(kept.machine).toContain(process.version);
    expect(root.startsWith(kept.folder)).toBe(true);
  });

  it("measured with a small file serve small files only", () => {
    keepBrief(true);
    expect(readBriefProfile(root, true, folder, "here")).toEqual(profile);
    expect(readBriefProfile(root, false, folder, "here")).toBeNull();
    keepBrief(false);
    expect(readBriefProfile(root, true, folder, "here")).toEqual(profile);
  });

  it("of another machine are as good as absent", () => {
    const file = keepBrief(false)!;
    expect(readBriefProfile(root, false, folder, "there")).toBeNull();
    writeFileSync(file, readFileSync(file, "utf8").replace(/"machine": "[^"]*"/, '"machine": "another"'));
    expect(readBriefProfile(root, false, folder, "here")).toBeNull();
  });
});
