/** A file by columns on disk, with compute threads and readers: dense and pruned give the bits of one thread with everything in DRAM. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelBytes } from "../checkpoint.fixture.js";
import { dipShares, uniformPlan } from "../pruning/pruning-plan.js";
import { decodeFile } from "./decode-file.fixture.js";
import { makeDiskFolder } from "./disk-folder.fixture.js";
import { type OpenModelOptions, openModel } from "./open-model.js";

const TOKENS = [2, 300, 45, 7, 499, 12, 64, 40, 3, 210, 111, 17];

let dir: string;
beforeAll(() => {
  dir = makeDiskFolder("columns");
});
afterAll(() => rmSync(dir, { recursive: true }));

const decode = (path: string, options: OpenModelOptions) =>
  decodeFile(path, TOKENS, { predictor: null, kvPrecision: "int8", ...options });

describe.each(["llama-tiny", "phi-tiny"])("%s by columns", (name) => {
  it.each([
    { threads: 1, readers: 2 },
    { threads: 3, readers: 0 },
    { threads: 3, readers: 3, overlap: false },
    { threads: 2, readers: 2, mergeGapBytes: 2048 },
  ] as const)("with %o", async (wishes) => {
    const path = join(dir, `${name}.gguf`);
    writeFileSync(path, await modelBytes(name, "f16", "columns"));
    const plain = { threads: 1, readers: 0 } as const;
    const probe = await openModel(path, { predictor: null, mode: "dense", kvPrecision: "int8", ...wishes });
    const { smallestBudgetBytes, dram } = probe.plan(TOKENS.length);
    const { length } = probe.header.geometry.layers;
    await probe.close();
    const dramBudgetBytes = Math.ceil(smallestBudgetBytes + 0.3 * (dram.total - smallestBudgetBytes));
    const plan = uniformPlan("dip", length, dipShares(0.6));
    for (const mode of [{ mode: "dense" }, { pruning: { plan } }] as const) {
      const expected = await decode(path, { ...plain, ...mode, dramBudgetBytes: 2 ** 28 });
      const found = await decode(path, { ...wishes, ...mode, dramBudgetBytes });
      expect(found.logits).toEqual(expected.logits);
      expect(found.flashBytes).toBeGreaterThan(0);
    }
  });
});
