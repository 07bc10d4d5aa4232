/** A short turn of the long run (`node tools/reliability/crashes.mjs`), and proof that it would find what it is for. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runCase } from "./case-run.js";
import { type CrashInputs, FLASHWICK, layInputs } from "./crash-inputs.js";
import { ROOT } from "./program-run.js";
import { SCENARIOS } from "./scenarios.js";

const build = capability("build", existsSync(FLASHWICK) ? null : "the command line is not built; run build");
let folder: string;
let inputs: CrashInputs;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "flashwick-crashes-"));
  inputs = await layInputs(join(folder, "inputs"));
});
afterAll(async () => {
  await inputs.hub.close();
  rmSync(folder, { recursive: true });
});

const WISH = { kills: true, errors: true, random: 0, races: 0, seed: 1, from: 0, count: 99, stride: 1, jobs: 2 };
const scenario = (name: string) => SCENARIOS.find((one) => one.name === name)!;

it("finds a file written in place, a temporary one left behind, and an error that is not typed", async () => {
  const program = join(ROOT, "tools/reliability/src/crashes/in-place.fixture.mjs");
  const inPlace = { name: "in place", outputs: ["out"], force: null };
  const command = (work: string) => [program, join(work, "out")];
  const { faults, totals } = await runCase(
    { scenario: { ...inPlace, command }, replaces: false },
    ...([inputs, folder, WISH] as const),
  );
  // An opening and a write, of each of two files, and a removal.
  expect(totals.operations).toBe(5);
  const text = faults.join("\n");
  expect(text).toMatch(/^after at operation 2, open of out: out is neither the old file nor the new one$/m);
  expect(text).toMatch(/^half at operation 3, write of out: out is not what an undisturbed run makes$/m);
  expect(text).toMatch(/^EIO at operation 2, open of out: out.tmp is left after a failure$/m);
  expect(text).toMatch(/^EACCES at operation 2, open of out: ends without a typed error/m);
});

it.skipIf(build.isMissing).each([
  ["convert", 41, true],
  ["pull", 4, false],
  ["kept prefixes", 5, false],
] as const)(
  build.title("%s, killed or failed at every %i. operation, leaves the old file or the new one"),
  async (name, stride, replaces) => {
    const { totals, faults } = await runCase(
      { scenario: scenario(name), replaces },
      ...([inputs, folder, { ...WISH, stride }] as const),
    );
    expect(faults).toEqual([]);
    expect(totals.kills).toBeGreaterThan(8);
    expect([totals.leftOld > 0, totals.leftOld + totals.leftNew + totals.leftSome]).toEqual([true, totals.kills]);
  },
);

it.skipIf(build.isMissing || !["linux", "win32"].includes(process.platform))(
  build.title("two conversions to one file never mix: each ends with its own, or is refused"),
  async () => {
    const wish = { ...WISH, count: 0, races: 3 };
    const { totals, faults } = await runCase(
      { scenario: scenario("convert"), replaces: true },
      ...([inputs, folder, wish] as const),
    );
    expect(faults).toEqual([]);
    expect(totals.races).toBe(3);
  },
);
