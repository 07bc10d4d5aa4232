import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { keepText } from "./kept-text.js";

const folder = mkdtempSync(join(tmpdir(), "flashwick-text-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("left a temporary file for ever when its process was killed: now the next one removes it", () => {
  const path = join(folder, "kept.json");
  const { pid: dead } = spawnSync(process.execPath, ["--version"]);
  // Of a process that is gone, of one that is alive, and of another file.
  const alive = `kept.json.${process.ppid}.tmp`;
  const other = `other.json.${dead}.tmp`;
  for (const name of [`kept.json.${dead}.tmp`, alive, other]) writeFileSync(join(folder, name), "half");
  expect(keepText(path, "whole")).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(["kept.json", alive, other].sort());
  expect(readFileSync(path, "utf8")).toBe("whole");
});

it("says so where nothing can be written, and leaves nothing", () => {
  expect(keepText(join(folder, "kept.json", "below", "a.json"), "text")).toBe(false);
});
