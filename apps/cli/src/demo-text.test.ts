import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { flashwick, flashwickJson } from "./tiny-checkpoint.fixture.js";

const dir = mkdtempSync(join(tmpdir(), "flashwick-demo-"));
afterAll(() => rmSync(dir, { recursive: true }));

it("the demo finds at least 70 % of its neurons in DRAM, within less than its file", async () => {
  const { document } = await flashwickJson(["demo", "--dir", dir]);
  expect(document.tokens).toHaveLength(200);
  expect(document.stats.cacheHitShare).toBeGreaterThanOrEqual(0.7);
  expect(document.stats.dramBytes.budget).toBeLessThan(0.75 * document.fileBytes);
  expect(document.stats.predicted.tokenMs).toBeGreaterThan(0);
});

it("the demo says what is held and what is read, and what to do next in three lines", async () => {
  const { out, err } = await flashwick(["demo", "--dir", dir, "--max-tokens", "8"], {
    env: { npm_package_name: "flashwick-workspace" },
  });
  expect(out).toMatch(/^DRAM holds [\d.]+ MiB of weights .*, and [\d.]+ \w+ of the 8\.00 MiB of neurons\.$/m);
  expect(out).toMatch(/^\d+ % of the neurons .* are read from flash\.$/m);
  expect(err.trim().split("\n").slice(-3)).toEqual([
    expect.stringMatching(
      /^chat with a real model +npx -y pnpm@[\d.]+ flashwick pull \S+\.gguf +# then: npx -y pnpm@[\d.]+ flashwick chat /,
    ),
    expect.stringMatching(/^the lab +npx -y pnpm@[\d.]+ lab/),
    expect.stringMatching(/^the library +/),
  ]);
});

it("the demo says nothing of next steps to a program, nor where it is to be quiet", async () => {
  const quiet = await flashwick(["demo", "--dir", dir, "--max-tokens", "2", "--quiet"]);
  const json = await flashwickJson(["demo", "--dir", dir, "--max-tokens", "2"]);
  expect([quiet.err, json.err]).toEqual(["", ""]);
});
