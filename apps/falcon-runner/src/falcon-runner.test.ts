import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter, sidecarPath } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "./falcon-runner.js";

let dir: string;
let model: string;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "falcon-runner-"));
  model = join(dir, "falcon-demo.gguf");
  const folder = await openCheckpointFolder(demoModels["falcon-demo"].checkpointDir);
  await convertCheckpoint(folder, async (spec) => createModelWriter(await fileSink(model), spec));
  copyFileSync(demoModels["falcon-demo"].predictorPath, sidecarPath(model));
});
afterAll(() => rmSync(dir, { recursive: true }));

async function falconRunner(...argv: string[]) {
  let out = "";
  let err = "";
  const stdout = { write: (text: string) => void (out += text) };
  const stderr = { write: (text: string) => void (err += text) };
  return { status: await main(argv, { stdout, stderr }), out, err };
}

describe("falcon-runner", () => {
  it("writes text, and by token the reads that flew beside attention", async () => {
    const { status, out } = await falconRunner(model, "In the beginning God created the heaven and the", "4");
    expect(status).toBe(0);
    expect(out).toContain("earth");
    const lines = out.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(line).toMatch(/reads fly [\d.]+ ms: beside attention [\d.]+ ms/);
  });
  it("refuses a model whose FFN waits for attention", async () => {
    const llama = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/llama.gguf", import.meta.url));
    const { status, err } = await falconRunner(llama);
    expect({ status, err }).toMatchObject({ status: 1, err: expect.stringContaining("UNSUPPORTED_ARCHITECTURE") });
  });
  it("says how it is used", async () => {
    expect(await falconRunner()).toMatchObject({ status: 2, err: expect.stringContaining("usage") });
  });
  it("reports a file that is not there", async () => {
    expect(await falconRunner(join(dir, "none.gguf"))).toMatchObject({
      status: 1,
      err: expect.stringContaining("IO_NOT_FOUND"),
    });
  });
});
