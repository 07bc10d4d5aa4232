import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter, sidecarPath } from "@flashwick/flash-format";
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
  copyFileSync(demoModels["opt-demo"].predictorPath, sidecarPath(model));
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
  it("writes text, and by token what was named, found in DRAM and read as bundles", async () => {
    const prompt = "In the beginning God created the heaven and the";
    const { status, out, err } = await optRunner(model, "--prompt", prompt, "--tokens", "4");
    expect(status).toBe(0);
    expect(out).toContain("earth");
    expect(err).toContain("a bundle is up and down of one neuron, 1024 bytes");
    const rows = err.split("\n").filter((line) => /^[\d ]+KiB$/.test(line));
    expect(rows).toHaveLength(3);
    for (const [named, found, bundles] of rows.map((line) => line.trim().split(/ +/).map(Number))) {
      expect(named).toBe(found! + bundles!);
      expect(bundles).toBeGreaterThan(0);
    }
  });
  it("reads less where the window is longer", async () => {
    const bundles = async (window: string) => {
      const { err } = await optRunner(model, "--window", window, "--tokens", "12");
      const rows = err.split("\n").filter((line) => /^[\d ]+KiB$/.test(line));
      return rows.reduce((sum, line) => sum + Number(line.trim().split(/ +/)[2]), 0);
    };
    expect(await bundles("5")).toBeLessThan(await bundles("1"));
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
