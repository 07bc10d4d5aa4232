import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { main } from "./llama-runner.js";

/** Weights that mean nothing, in Q4_K, Q5_K and Q6_K. */
const model = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/llama.gguf", import.meta.url));

async function llamaRunner(...argv: string[]) {
  let out = "";
  let err = "";
  const stdout = { write: (text: string) => void (out += text) };
  const stderr = { write: (text: string) => void (err += text) };
  return { status: await main(argv, { stdout, stderr }), out, err };
}

describe("llama-runner", () => {
  it("writes the same text whether layers stay or are streamed, and what it cost", async () => {
    const resident = await llamaRunner(model, "In the beginning", "64", "8");
    expect(resident).toMatchObject({ status: 0, err: expect.stringContaining("3 of 3 layers stay") });
    const streamed = await llamaRunner(model, "In the beginning", "2.6", "8");
    expect(streamed).toMatchObject({ status: 0, out: resident.out });
    expect(streamed.err).toMatch(/[012] of 3 layers stay/);
  });
  it("says how it is used", async () => {
    expect(await llamaRunner()).toMatchObject({ status: 2, err: expect.stringContaining("usage") });
  });
  it("reports a file that is not there", async () => {
    expect(await llamaRunner("none.gguf")).toMatchObject({
      status: 1,
      err: expect.stringContaining("IO_NOT_FOUND"),
    });
  });
});
