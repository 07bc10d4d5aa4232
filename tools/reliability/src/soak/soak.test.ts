/** A short soak, of tiny models; and what its arithmetic says of made-up samples. */
import { mkdtempSync, rmSync } from "node:fs";
import { platform, tmpdir } from "node:os";
import { join } from "node:path";
import type { TokenStats } from "@flashwick/core";
import { provokeCollection } from "@flashwick/kernels-wasm/node";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SoakLedger } from "./ledger.js";
import { MemoryWatch } from "./process-counts.js";
import { soak } from "./soak.js";
import { makeSoakModels, type SoakModel } from "./soak-models.js";
import { soakTable } from "./soak-table.js";
import { driftOf, faultsOf } from "./verdict.js";

const linux = capability("linux", platform() === "linux" ? null : `${platform()} has no /proc`);

describe.skipIf(linux.isMissing)(linux.title("a short soak"), () => {
  const folder = mkdtempSync(join(tmpdir(), "soak-"));
  let models: readonly SoakModel[];
  beforeAll(async () => {
    models = await makeSoakModels(folder, "tiny");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("gives every undisturbed text as alone, with counters that fit, and leaves nothing open", async () => {
    const result = await soak({ models, tokens: 400, seed: 1, stories: 6, roundTokens: 60 });
    const { ledger } = result;
    expect(faultsOf(result)).toEqual([]);
    expect(ledger.tokens).toBeGreaterThanOrEqual(400);
    // None of what is said to be tried was left out.
    for (const event of ["whole", "served", "left", "aborted", "forked", "rolled back", "drafted"] as const) {
      expect([event, ledger.countOf(event) > 0]).toEqual([event, true]);
    }
    expect(ledger.readsChecked).toBeGreaterThan(0);
  });
});

describe("the ledger tells of", () => {
  const phaseMs = { predict: 0, cache: 0, check: 0, readWait: 0, attention: 0, ffn: 0, head: 0, other: 0 };
  const stats: TokenStats = {
    ...{ ms: 1, phaseMs, flashBytes: 64, flashReads: 1, flashMs: 0 },
    ...{ neuronsNamed: 4, neuronsLoaded: 1, cacheHits: 3, cacheMisses: 1 },
  };
  it.each([
    ["as many hits and misses as named: nothing", stats, 0],
    ["more hits and misses than named", { ...stats, cacheHits: 4 }, 1],
    ["misses that were never loaded", { ...stats, neuronsLoaded: 0 }, 1],
    ["bytes without a read", { ...stats, flashReads: 0 }, 1],
  ] as const)("%s", (_, token, faults) => {
    const ledger = new SoakLedger(10);
    ledger.checkToken("a", token);
    expect(ledger.faults.length).toBe(faults);
  });
  it("a text that is another one, or too short; not of the beginning of one that was left", () => {
    const ledger = new SoakLedger(10);
    ledger.checkText("left", [1, 2], [1, 2, 3], false);
    expect(ledger.faults).toEqual([]);
    ledger.checkText("short", [1, 2], [1, 2, 3], true);
    ledger.checkText("other", [1, 3], [1, 2, 3], false);
    expect(ledger.faults).toEqual([
      "short: not as alone: found 1 2, expected 1 2 3",
      "other: not as alone: found 1 3, expected 1 2 3",
    ]);
  });
});

it("memories of WebAssembly are counted until they are collected", async () => {
  const watch = new MemoryWatch();
  let held: WebAssembly.Memory | null = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  await new Promise(setImmediate);
  expect([watch.alive, held.buffer.byteLength]).toEqual([1, 65536]);
  held = null;
  await new Promise(setImmediate);
  provokeCollection();
  await new Promise(setImmediate);
  expect([watch.made, watch.alive]).toEqual([1, 0]);
  watch.end();
});

describe("drift", () => {
  it("is from the median of the second tenth to that of the last: a single large sample does not count", () => {
    const sizes = Array.from({ length: 100 }, (_, i) => (i < 10 ? 50 : i === 15 || i === 95 ? 500 : 100));
    expect(driftOf(sizes)).toEqual({ early: 100, late: 100, share: 0 });
    expect(driftOf(sizes.map((size, i) => size + (i >= 85 ? 3 : 0)))?.share).toBeCloseTo(0.03, 10);
  });
  it("is not told of a few samples", () => expect(driftOf([1, 2, 3])).toBeNull());
});

it("figures become lines of the table, to six digits", () => {
  expect(soakTable([{ figure: "a, of b", value: 1 / 3, unit: "ms" }], "v20", "cpu x2")).toBe(
    'figure,value,unit,node,machine\n"a, of b",0.333333,ms,v20,cpu x2\n',
  );
});
