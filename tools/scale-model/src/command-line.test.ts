import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { main } from "./command-line.js";

async function run(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const stdout = { write: (text: string) => void (out += text) };
  const stderr = { write: (text: string) => void (err += text) };
  const status = await main(args, { stdout, stderr });
  return { status, out, err };
}

it("prints one JSON document about the files that it made", async () => {
  const dir = mkdtempSync(join(tmpdir(), "scale-model-"));
  try {
    const path = join(dir, "x.gguf");
    const size = ["--d-model", "512", "--d-ff", "2048", "--layers", "8", "--heads", "8"];
    const { status, out, err } = await run("-o", path, ...size, "--dtype", "int8", "--rank-factor", "2");
    expect([status, err]).toEqual([0, ""]);
    const result = JSON.parse(out);
    expect(result).toMatchObject({ model: path, fileBytes: statSync(path).size, rankFactor: 2, meanRank: 70 });
    expect(result.peakRssBytes).toBeGreaterThan(0);
    expect(statSync(join(dir, "x.predictor.gguf")).size).toBeGreaterThan(0);
    const again = await run("-o", path, ...size);
    expect(again.status).toBe(1);
    expect(again.err).toContain("--force");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

it.each([
  [["--preset", "6.7b"], "-o"],
  [["-o", "x.gguf"], "--d-model is missing"],
  [["-o", "x.gguf", "--preset", "7b"], "1.3b, 6.7b, falcon-7b, llama-2-7b"],
  [["-o", "x.gguf", "--preset", "6.7b", "--dtype", "q5"], "--dtype"],
  [["-o", "x.gguf", "--preset", "6.7b", "--layout", "loose"], "--layout"],
  [["-o", "x.gguf", "--preset", "6.7b", "--seed", "-1"], "--seed"],
  [["--fast"], "--help"],
])("says what is wrong with %j, and exits with 2", async (args, message) => {
  const { status, out, err } = await run(...args);
  expect([status, out]).toEqual([2, ""]);
  expect(err).toContain(message);
});

it("explains itself", async () => {
  expect((await run("--help")).out).toContain("Usage: scale-model");
});
