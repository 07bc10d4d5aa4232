/** Some damage to every kind of file; `node tools/reliability/corruption.mjs` does all of it. */
import { InputError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { damageSubject } from "./campaign.js";
import type { Region, Subject } from "./damage.js";
import { SUBJECTS } from "./subjects.js";

const SIZE = { seed: 1, flips: 60, wholeBytes: 40, cuts: 10, exchanges: 10, outputs: 1, uses: 2 };

describe.each([...SUBJECTS.keys()])("damage to %s", (name) => {
  it("is found at open, at the read that would use it or by verify, or changes nothing", async () => {
    const subject = await SUBJECTS.get(name)!();
    const tallies = await damageSubject(subject, SIZE);
    expect(tallies.flatMap(({ faults }) => faults)).toEqual([]);
    const flips = tallies.filter(({ damage }) => damage === "flip").reduce((sum, { count }) => sum + count, 0);
    expect(flips).toBeGreaterThanOrEqual(Math.min(SIZE.wholeBytes, subject.bytes.length));
  });
});

describe("a campaign tells of", () => {
  /** Four bytes, the first two of which have a checksum: their sum. */
  function made(changes: Partial<Region>, output: Subject["output"] = async () => 0): Subject {
    const bytes = Uint8Array.of(1, 2, 3, 0);
    const judge = () => {
      if (((bytes[0]! + bytes[1]!) & 255) !== 3) throw new InputError("INPUT_INVALID", "damaged");
    };
    const region = { name: "made", begin: 0, end: 4, judges: [{ finder: "read" as const, judge }], isWhole: true };
    return {
      ...{ name: "made", kind: "made", bytes, regions: [{ ...region, ignored: null, ...changes }], output },
      ...{ boundaries: [], exchanges: [], foreign: [], whole: () => [{ finder: "open", use: judge }] },
    };
  }
  const faultsOf = async (subject: Subject) =>
    (await damageSubject(subject, { ...SIZE, outputs: 3, uses: 0 }))
      .filter(({ damage }) => damage === "flip")
      .flatMap(({ faults }) => faults.map((fault) => fault.replace(/bit \d/, "bit")));

  it("damage that nobody finds", async () => {
    expect(await faultsOf(made({}))).toEqual([
      "made, made: bit of byte 2: nobody finds it",
      "made, made: bit of byte 3: nobody finds it",
    ]);
  });
  it("bytes that are called unused, and change the output", async () => {
    expect(await faultsOf(made({ ignored: "nobody reads them" }))).toEqual([]);
    const used = made({ ignored: "nobody reads them" }, async (bytes) => bytes[2]);
    expect(await faultsOf(used)).toEqual([expect.stringContaining("bits from byte 2 on, which change the output")]);
  });
  it("an error without a type", async () => {
    const judge = () => void (JSON.parse("null") as object).toString();
    await expect(damageSubject(made({ judges: [{ finder: "read", judge }] }), SIZE)).rejects.toThrow(TypeError);
  });
});
