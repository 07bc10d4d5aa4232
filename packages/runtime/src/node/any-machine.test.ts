/**
 * Design, invariant 1, with real files, threads and direct reads: the same logits bit for bit, however many threads compute,
 * however many read, whatever is merged, and however late a read comes. And the device has read what we say it has.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KiB, MiB } from "@flashwick/core";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ggufBytes, modelBytes } from "../checkpoint.fixture.js";
import { directReadsMissing, makeDiskFolder } from "./disk-folder.fixture.js";
import { type OpenModelOptions, openModel } from "./open-model.js";

const PREDICTOR = fileURLToPath(
  new URL("../../../demo-models/models/opt-demo/opt-demo.predictor.gguf", import.meta.url),
);
const TOKENS = [2, 300, 45, 7, 499, 12, 64, 640, 3, 210, 1111, 17];
const PROMPT_TOKENS = 5;
/** Three quarters of the file: neurons come and go. */
const BUDGET = 11 * MiB;

let dir: string;
let path: string;
let falconPath: string;
/** A mixture of experts in a file of ours, and one of llama.cpp's. */
let mixturePaths: Readonly<Record<"records" | "gguf", string>>;
beforeAll(async () => {
  dir = makeDiskFolder("any-machine");
  path = join(dir, "opt-demo.gguf");
  writeFileSync(path, await modelBytes("opt-demo", "f16"));
  falconPath = join(dir, "falcon-demo.gguf");
  writeFileSync(falconPath, await modelBytes("falcon-demo", "f16"));
  mixturePaths = { records: join(dir, "olmoe-tiny.gguf"), gguf: join(dir, "olmoe.gguf") };
  writeFileSync(mixturePaths.records, await modelBytes("olmoe-tiny", "f16"));
  writeFileSync(mixturePaths.gguf, ggufBytes("olmoe"));
});
afterAll(() => rmSync(dir, { recursive: true }));

interface Decoded {
  readonly logits: readonly Float32Array[];
  readonly flashBytes: number;
  readonly deviceBytes: number;
  readonly ioMode: string;
}

/** Bytes that this process has caused the device to be read. NaN where nobody counts. */
function deviceBytesRead(): number {
  try {
    return Number(/^read_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))![1]);
  } catch {
    return Number.NaN;
  }
}

async function decode(options: OpenModelOptions, file = path, tokens = TOKENS): Promise<Decoded> {
  const model = await openModel(file, {
    predictor: PREDICTOR,
    dramBudgetBytes: BUDGET,
    kvPrecision: "f16",
    ...options,
  });
  try {
    return await model.withSequence(tokens.length, async (sequence) => {
      const logits = [(await sequence.prefill(tokens.slice(0, PROMPT_TOKENS))).logits];
      let flashBytes = 0;
      const before = deviceBytesRead();
      for (const token of tokens.slice(PROMPT_TOKENS)) {
        const step = await sequence.decode(token);
        logits.push(step.logits.slice() as Float32Array<ArrayBuffer>);
        flashBytes += step.stats.flashBytes;
      }
      const deviceBytes = deviceBytesRead() - before;
      return { logits, flashBytes, deviceBytes, ioMode: model.parts.reader.mode };
    });
  } finally {
    await model.close();
  }
}

describe("opt-demo, logits bit for bit", () => {
  let plain: Decoded;
  beforeAll(async () => {
    plain = await decode({ threads: 1, readers: 0, overlap: false, lookahead: false, mergeGapBytes: 0 });
  });

  for (const threads of [1, 2, 4]) {
    for (const readers of [1, 8, 32]) {
      it.each([
        ["no gap", 0],
        ["the device's gap", undefined],
        ["any gap", MiB],
      ])(`${threads} compute threads, ${readers} late readers, %s`, async (_, mergeGapBytes) => {
        const { logits } = await decode({ threads, readers, mergeGapBytes, jitterUs: 200 });
        expect(logits).toEqual(plain.logits);
      });
    }
  }

  it("dense, streamed ahead by threads, equals dense at once", async () => {
    const dense = { mode: "dense", predictor: null } as const;
    const expected = await decode({ ...dense, threads: 1, readers: 0, overlap: false });
    const { logits } = await decode({ ...dense, threads: 2, readers: 8, jitterUs: 200 });
    expect(logits).toEqual(expected.logits);
  });

  it("over gaps with nothing kept, one read brings many neurons", async () => {
    const options = { readers: 4, windowTokens: 1, lookahead: false };
    const apart = await decode({ ...options, mergeGapBytes: 0 });
    const merged = await decode({ ...options, mergeGapBytes: 64 * KiB });
    expect(merged.flashBytes).toBeGreaterThan(apart.flashBytes);
    expect(merged.logits).toEqual(apart.logits);
  });
});

describe("falcon-demo, whose reads fly during attention, logits bit for bit", () => {
  const oracle = { mode: "oracle", predictor: null, dramBudgetBytes: 9 * MiB } as const;
  let plain: Decoded;
  beforeAll(async () => {
    plain = await decode({ ...oracle, threads: 1, readers: 0, overlap: false, mergeGapBytes: 0 }, falconPath);
  });

  it.each([
    [1, 8],
    [2, 2],
    [4, 16],
  ])("%i compute threads, %i late readers", async (threads, readers) => {
    const { logits, flashBytes } = await decode(
      { ...oracle, threads, readers, jitterUs: 200, overlap: true },
      falconPath,
    );
    expect(flashBytes).toBeGreaterThan(0);
    expect(logits).toEqual(plain.logits);
  });
});

describe.each(["records", "gguf"] as const)("a mixture of experts from %s, logits bit for bit", (form) => {
  const tokens = [2, 300, 45, 7, 499, 12, 64, 40, 3, 210, 111, 17, 8, 400, 31, 5];
  const plain = { predictor: null, threads: 1, readers: 0, overlap: false, lookahead: false } as const;
  let expected: Decoded;
  let dramBudgetBytes: number;
  beforeAll(async () => {
    const model = await openModel(mixturePaths[form], { ...plain, kvPrecision: "f16", dramBudgetBytes: 64 * MiB });
    const { smallestBudgetBytes, dram } = model.plan(tokens.length);
    await model.close();
    dramBudgetBytes = Math.ceil(smallestBudgetBytes + 0.3 * (dram.total - smallestBudgetBytes));
    // The least budget keeps nothing from one token to the next.
    expected = await decode({ ...plain, dramBudgetBytes: smallestBudgetBytes }, mixturePaths[form], tokens);
  });

  for (const threads of [1, 2, 4]) {
    it.each([
      ["each layer's slots", { readers: 1 }],
      ["each layer's slots, reads ahead", { readers: 8, lookahead: true }],
      ["reads ahead as they pay", { readers: 32 }],
      ["a pool", { readers: 8, cacheScope: "pool", policy: "least-stale" }],
      ["a pool, reads ahead", { readers: 2, cacheScope: "pool", lookahead: true }],
      ["nothing beside reads", { readers: 4, overlap: false, policy: "lru" }],
    ] as const)(`${threads} compute threads, late readers, %s`, async (_, options) => {
      const run = { predictor: null, dramBudgetBytes, threads, jitterUs: 200, ...options };
      const { logits, flashBytes } = await decode(run, mixturePaths[form], tokens);
      expect(flashBytes).toBeGreaterThan(0);
      expect(logits).toEqual(expected.logits);
    });
  }
});

describe("bytes read from the device", () => {
  const uncounted = Number.isNaN(deviceBytesRead()) ? "this system does not count a process's reads" : null;
  const direct = capability("direct-io", directReadsMissing() ?? uncounted);

  it.skipIf(direct.isMissing)(direct.title("equal the engine's own count within 1 %"), async () => {
    const { flashBytes, deviceBytes, ioMode } = await decode({ readers: 4, mergeGapBytes: 0 });
    expect(ioMode).toBe("direct");
    expect(Math.abs(deviceBytes / flashBytes - 1)).toBeLessThan(0.01);
  });
});
