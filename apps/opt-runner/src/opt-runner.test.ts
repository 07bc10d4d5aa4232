import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "./opt-runner.js";

let dir: string;
let model: string;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "opt-runner-"));
  model = join(dir, "opt-demo.gguf");
  const folder = await openCheckpointFolder(demoModels["opt-demo"].checkpointDir);
  await convertCheckpoint(folder, async (spec) => createModelWriter(await fileSink(model), spec));
});
afterAll(() => rmSync(dir, { recursive: true }));

async function optRunner(...argv: string[]) {
  let out = "";
  let err = "";
  const stdout = { write: (text: string) => void (out += text) };
  const stderr = { write: (text: string) => void (err += text) };
  return { status: await main(argv, { stdout, stderr }), out, err };
}

describe("opt-runner", () => {
  it("writes text, and what it cost", async () => {
    const { status, out, err } = await optRunner(
      model,
      "-",
      "In the beginning God created the heaven and the",
      "16",
      "4",
    );
    expect(status).toBe(0);
    expect(out).toContain("earth");
    expect(err).toMatch(/dense: [\d.]+ tokens\/s/);
    expect(err).toMatch(/DRAM {2}[\d.]+ MiB of 16\.0 MiB/);
  });
  it("says how it is used", async () => {
    expect(await optRunner()).toMatchObject({ status: 2, err: expect.stringContaining("usage") });
  });
  it("reports a file that is not there", async () => {
    expect(await optRunner(join(dir, "none.gguf"))).toMatchObject({
      status: 1,
      err: expect.stringContaining("IO_NOT_FOUND"),
    });
  });
});
