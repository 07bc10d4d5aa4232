/** A folder with a mixture of experts from the command line: converted, shown, checked; and what is refused. */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";

const folder = (name: string) => fileURLToPath(new URL(`../../../packages/runtime/fixtures/${name}`, import.meta.url));

let dir: string;
let model: string;
beforeAll(() => {
  dir = makeWorkplace().dir;
  model = join(dir, "qwen2-moe.gguf");
});
afterAll(() => rmSync(dir, { recursive: true }));

async function json(...argv: string[]) {
  const { status, document } = await flashwickJson(argv);
  expect(status).toBe(0);
  return document;
}

describe("a mixture of experts", () => {
  it("is converted to records of experts, in four bits with what that loses", async () => {
    const argv = ["convert", folder("qwen2-moe-tiny"), "-o", model, "--dtype", "q4"];
    const document = await json(...argv);
    // Two layers of eight experts: three matrices of 32 rows or columns of 64, 18 bytes for 32 weights.
    expect(document).toMatchObject({
      ...{ architecture: "qwen2moe", dtype: "q4_0", residentDtype: "q8_0", layout: "experts", strideBytes: 4096 },
      ...{ fileBytes: statSync(model).size, ffnBytes: 2 * 8 * 3 * 32 * 64 * (18 / 32), placement: "identity" },
    });
    expect(Object.keys(document.loss).sort()).toEqual(["down", "gate", "resident", "up"]);
    const { out } = await flashwick([...argv, "--force"]);
    expect(out).toMatch(/weights +q4_0, experts, stride 4096 bytes; resident q8_0/);
    expect(out).toMatch(/experts 54\.0 KiB/);
  });

  it("is shown with its experts, by layer", async () => {
    const document = await json("inspect", model);
    expect(document.weights).toMatchObject({ layout: "experts", dtype: "q4_0" });
    expect(document.experts.map((layer: { count: number } | null) => layer?.count ?? null)).toEqual([8, null, 8]);
    expect(document.checksumBytes).toBe(4 * 16);
    const { out } = await flashwick(["inspect", model]);
    expect(out).toMatch(/experts +3 of 8 a token, beside a shared one, 3\.38 KiB each, one record each/);
    expect(out).toMatch(/blk\.2 experts, down +q4_0 +8 × 64 × 32/);
    expect(out).toMatch(/blk\.1\.ffn_gate\.weight +q8_0/);
  });

  it("is verified record by record: damage is named by layer and expert", async () => {
    expect(await json("verify", model)).toMatchObject({
      ok: true,
      recordsChecked: 16,
      bytesChecked: statSync(model).size,
    });
    const { experts } = await json("inspect", model);
    const bytes = readFileSync(model);
    const damaged = join(dir, "damaged.gguf");
    bytes[experts[2].matrices[1].offset + 6 * 4096]! ^= 4;
    writeFileSync(damaged, bytes);
    const { status, out } = await flashwick(["verify", damaged]);
    expect([status, out]).toEqual([1, expect.stringMatching(/expert +layer 2, expert 6 +at byte/)]);
  });

  it.each([
    [["--dtype", "int8"], /--dtype q8_0/],
    [["--layout", "split"], /without --layout/],
    [["--stride", "8KiB"], /without --stride/],
  ])("is refused with %j, and nothing is written", async (flags, message) => {
    const output = join(dir, "refused.gguf");
    const { status, err } = await flashwick(["convert", folder("olmoe-tiny"), "-o", output, ...flags]);
    expect([status, err]).toEqual([1, expect.stringMatching(message)]);
    expect(existsSync(output)).toBe(false);
  });

  it("of llama.cpp comes over block by block", async () => {
    const output = join(dir, "from-gguf.gguf");
    const document = await json("convert", folder("gguf/qwen3moe.gguf"), "-o", output);
    expect(document).toMatchObject({ layout: "experts", dtype: "q4_k", residentDtype: "q8_0" });
    expect((await json("verify", output)).ok).toBe(true);
  });
});
