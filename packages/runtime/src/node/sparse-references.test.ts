/** Every family whose FFN leaves zeros, with real files, threads and late readers: the oracle and threshold −∞ give the dense model's bits. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { memorySource } from "@flashwick/core";
import { openModelFile, writePredictorFile } from "@flashwick/flash-format";
import { fileSink } from "@flashwick/flash-format/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelBytes, SPARSE_REFERENCES } from "../checkpoint.fixture.js";
import { noisePredictor } from "../noise-predictor.fixture.js";
import { decodeFile } from "./decode-file.fixture.js";
import { makeDiskFolder } from "./disk-folder.fixture.js";
import { type OpenModelOptions, openModel } from "./open-model.js";

const TOKENS = [2, 300, 45, 7, 499, 12, 64, 40, 3, 210, 111, 17];

let dir: string;
beforeAll(() => {
  dir = makeDiskFolder("sparse-references");
});
afterAll(() => rmSync(dir, { recursive: true }));

/** By the gates in their records, and by resident ones. */
const GATES = ["llama-tiny-relu", "bamboo-tiny"].map((name) => [name, "q4_0"] as const);

describe.each([...SPARSE_REFERENCES.map((name) => [name, null] as const), ...GATES])(
  "%s with resident gates of %s, logits bit for bit",
  (name, gateDtype) => {
    let path: string;
    let predictor: string;
    let dramBudgetBytes: number;
    let dense: readonly Float32Array[];

    const decode = (options: OpenModelOptions) =>
      decodeFile(path, TOKENS, { predictor: null, kvPrecision: "f16", ...options });

    beforeAll(async () => {
      path = join(dir, `${name}.${gateDtype}.gguf`);
      predictor = join(dir, `${name}.${gateDtype}.noise.gguf`);
      const bytes = await modelBytes(name, "f16", "bundled", gateDtype);
      writeFileSync(path, bytes);
      const { header } = await openModelFile(memorySource(bytes, name));
      await writePredictorFile(await fileSink(predictor), noisePredictor(header));
      const model = await openModel(path, { predictor, kvPrecision: "f16" });
      const { smallestBudgetBytes, dram } = model.plan(TOKENS.length);
      await model.close();
      // A part of the neurons has slots: they come and go.
      dramBudgetBytes = Math.ceil(smallestBudgetBytes + 0.3 * (dram.total - smallestBudgetBytes));
      dense = (await decode({ mode: "dense", threads: 1, readers: 0, overlap: false, lookahead: false })).logits;
    });

    it.each([
      [1, 8],
      [2, 1],
      [4, 16],
    ])("%i compute threads, %i late readers", async (threads, readers) => {
      const run = { threads, readers, jitterUs: 200, dramBudgetBytes };
      for (const mode of gateDtype === null ? (["oracle"] as const) : (["oracle", "gate-first"] as const)) {
        for (const windowTokens of [1, 4]) {
          const exact = await decode({ ...run, mode, windowTokens });
          expect(exact.flashBytes).toBeGreaterThan(0);
          expect(exact.logits).toEqual(dense);
        }
      }
      const all = await decode({ ...run, mode: "predicted", predictor, threshold: Number.NEGATIVE_INFINITY });
      expect(all.logits).toEqual(dense);
      const ahead = { ...run, mode: "predicted", predictor } as const;
      const guessed = await decode({ ...ahead, lookahead: true, overlap: true });
      expect(guessed.logits).toEqual((await decode({ ...ahead, lookahead: false, overlap: false })).logits);
      expect(guessed.logits).not.toEqual(dense);
    });
  },
);
