/** A short turn of every harness: what is kept, and some thousand changes of it. The long one is `node tools/fuzz/fuzz.mjs`. */
import { InputError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { runCampaign } from "./campaign.js";
import { bytesOf, type Harness, textOf } from "./harness.js";
import { HARNESSES } from "./harnesses.js";
import { CORPUS, readInputs } from "./kept-inputs.js";

const INPUTS = 700;

describe.each(HARNESSES.map((harness) => [harness.name, harness] as const))("%s", (name, harness) => {
  it("reads its seeds to the end, or as far as they go", async () => {
    const seeds = await harness.seeds();
    const outcomes = await Promise.all(seeds.map(async (seed) => await outcomeOf(harness, seed.slice())));
    expect(outcomes.filter((outcome) => ENDS.includes(outcome)).length).toBeGreaterThan(0);
  });

  const made = harness.shortInputs ?? INPUTS;
  it(`refuses what is kept and ${made} changes of it with typed errors, within its time and its memory`, async () => {
    const kept = [...readInputs(CORPUS, name).values()];
    const { faults, inputs } = await runCampaign(harness, { seed: 1, inputs: made, kept });
    expect(faults.map(({ what, input }) => ({ what, input: textOf(input).slice(0, 300) }))).toEqual([]);
    expect(inputs).toBeGreaterThanOrEqual(made);
  });
});

/** That a seed was read whole; or the error with which a harness itself ends what was read far enough. */
const ENDS = ["read", "the harness reads no further"];

async function outcomeOf(harness: Harness, seed: Uint8Array): Promise<string> {
  try {
    await harness.read(seed);
    return "read";
  } catch (error) {
    return (error as Error).message;
  }
}

describe("a campaign tells of a reader that", () => {
  const harness = (read: Harness["read"]): Harness => ({
    ...{ name: "made", form: "bytes", words: [], maxBytes: 16, limits: { ms: 50, growthBytes: 2 ** 24 }, read },
    seeds: async () => [bytesOf("abc")],
  });
  const faultsOf = async (read: Harness["read"]) =>
    (await runCampaign(harness(read), { seed: 1, inputs: 200 })).faults.map(({ what }) => what.split("\n")[0]);

  it("throws what is no typed error", async () => {
    expect(await faultsOf(() => void (JSON.parse("null") as object).toString())).toEqual([
      expect.stringContaining("TypeError"),
    ]);
  });
  it("throws a typed error: nothing", async () => {
    expect(await faultsOf(() => Promise.reject(new InputError("INPUT_INVALID", "no")))).toEqual([]);
  });
  it("takes too long", async () => {
    const wait = () => new Promise<void>((resolve) => setTimeout(resolve, 80));
    expect((await runCampaign(harness(wait), { seed: 1, inputs: 1 })).faults[0]?.what).toMatch(/^takes \d+ ms$/);
  });
  it("grows the heap", async () => {
    const held: Uint8Array[] = [];
    const grow = () => void held.push(new Uint8Array(2 ** 25).fill(1));
    expect((await runCampaign(harness(grow), { seed: 1, inputs: 1 })).faults[0]?.what).toMatch(
      /^grows the heap by \d+ bytes$/,
    );
  });
  it("pollutes a prototype, which is then as it was", async () => {
    const pollute = () => void Object.assign(Object.prototype, { polluted: true });
    expect(await faultsOf(pollute)).toEqual(["this input changes Object.prototype has other properties"]);
    expect("polluted" in {}).toBe(false);
  });
});
