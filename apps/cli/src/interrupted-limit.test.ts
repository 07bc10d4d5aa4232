/** Ctrl-C while the limit of a finished run is measured. The measurement is stood in for, so that the moment is sure. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { flashwick, flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";

const interrupt = new AbortController();
vi.mock("./limit-flag.js", async (original) => ({
  ...(await original<typeof import("./limit-flag.js")>()),
  limitOf: async () => {
    interrupt.abort();
    interrupt.signal.throwIfAborted();
  },
}));

const { dir, checkpoint } = makeWorkplace();
afterAll(() => rmSync(dir, { recursive: true }));

it("run keeps its result when Ctrl-C comes while the limit is measured", async () => {
  const model = join(dir, "tiny.gguf");
  await flashwickJson(["convert", checkpoint, "-o", model]);
  const argv = ["run", model, "--max-tokens", "3", "--tokens", "2,17", "--json", "--limit", "on"];
  const { status, out } = await flashwick(argv, { signal: interrupt.signal });
  expect(interrupt.signal.aborted).toBe(true);
  const { tokens, finishReason, stats } = JSON.parse(out);
  expect([status, tokens.length, finishReason, stats.limit]).toEqual([0, 3, "length", null]);
});
