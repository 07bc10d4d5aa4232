import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { lfuPolicy } from "../lfu-policy.js";
import { rankPolicies } from "./rank-policies.js";
import { type RouterTraceOptions, routerTrace } from "./router-trace.fixture.js";
import { oneLayer } from "./traces.fixture.js";

/** OLMoE-1B-7B's shape. A token repeats somewhat less than half of the one before, as has been published of Qwen3-30B. */
const STICKY: RouterTraceOptions = {
  ...{ nLayers: 16, nExperts: 64, topK: 8, tokens: 400, seed: 1 },
  ...{ stay: 0.3, skew: 0.8, driftTokens: 150 },
};
const INDEPENDENT: RouterTraceOptions = { ...STICKY, stay: 0, skew: 0, driftTokens: Number.POSITIVE_INFINITY };
const WARM_UP = 50;
const NAMES = ["window", "lru", "lfu", "s3-fifo", "least-stale"];

/** Slots are given as multiples of what a token uses. */
function rank(options: RouterTraceOptions, pool: boolean, times: number) {
  const slots = Math.round(times * options.topK * (pool ? options.nLayers : 1));
  return rankPolicies(routerTrace(options), { slots, pool, warmUpTokens: WARM_UP });
}

function tableRow(where: string, options: RouterTraceOptions, pool: boolean, times: number): string {
  const { ranks, optimum } = rank(options, pool, times);
  const shares = NAMES.map((name) => ranks.find(({ policy }) => policy === name)!.hitShare);
  const cells = [...shares, optimum].map((share) => (100 * share).toFixed(1));
  return `| ${[where, `${times}×`, ...cells].join(" | ")} |`;
}

const squeezed = (line: string) => line.replaceAll(/ +/g, " ");

describe("rankPolicies", () => {
  it.each([
    ["a cache a layer", STICKY, false],
    ["a pool", STICKY, true],
    ["a pool, independent", INDEPENDENT, true],
  ])("the README's table of hits is what the made-up traces give: %s", (where, options, pool) => {
    const readme = readFileSync(fileURLToPath(new URL("../../README.md", import.meta.url)), "utf8");
    const rows = [0.75, 1, 2, 4].map((times) => tableRow(where, options, pool, times));
    const lines = readme
      .split("\n")
      .map(squeezed)
      .filter((line) => line.startsWith(`| ${where} |`));
    expect(lines).toEqual(rows);
  });

  it("LFU that halves its counts every 64 tokens gains where popularity changes, and loses less than half a point where not", () => {
    const gain = (driftTokens: number) => {
      const trace = routerTrace({ ...STICKY, driftTokens });
      const [young, old] = [64, 256].map((halveAfter) => {
        const policies = [() => lfuPolicy(halveAfter)];
        return rankPolicies(trace, { slots: 16, warmUpTokens: WARM_UP, policies }).ranks[0]!.hitShare;
      });
      return young! - old!;
    };
    expect(gain(STICKY.driftTokens)).toBeGreaterThan(0.01);
    expect(gain(Number.POSITIVE_INFINITY)).toBeGreaterThan(-0.005);
  });

  it("puts first what hits most, and nothing before the optimum", () => {
    const { ranks, optimum } = rank(STICKY, true, 2);
    const shares = ranks.map(({ hitShare }) => hitShare);
    expect(shares).toEqual([...shares].sort((a, b) => b - a));
    expect(optimum).toBeGreaterThan(shares[0]!);
    expect(ranks.map(({ policy }) => policy).sort()).toEqual([...NAMES].sort());
  });

  it("refuses a warm-up that leaves nothing", () => {
    expect(() => rankPolicies(oneLayer(8, [1], []), { slots: 2, warmUpTokens: 1 })).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  });
});

describe("routerTrace", () => {
  it("chooses k distinct experts for each token and layer, the same for the same seed", () => {
    const trace = routerTrace({ ...STICKY, tokens: 20 });
    for (const set of trace.tokens.flat()) {
      expect([...set]).toEqual([...new Set(set)].sort((a, b) => a - b));
      expect(set.length).toBe(STICKY.topK);
    }
    expect(routerTrace({ ...STICKY, tokens: 20 })).toEqual(trace);
    expect(routerTrace({ ...STICKY, tokens: 20, seed: 2 })).not.toEqual(trace);
  });

  it("without memory and skew leaves every policy at slots over experts, within two points", () => {
    const { ranks } = rank(INDEPENDENT, false, 2);
    for (const { hitShare } of ranks) expect(Math.abs(hitShare - 16 / 64)).toBeLessThan(0.02);
  });
});
