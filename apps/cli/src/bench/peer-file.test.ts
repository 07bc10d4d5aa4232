import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { memorySource, UnsupportedError } from "@flashwick/core";
import { createModelWriter, type ModelHeader, memorySink, openModelFile } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSource } from "@flashwick/flash-format/node";
import { afterAll, describe, expect, it } from "vitest";
import { writePeerFile } from "./peer-file.js";
import type { PeerFamily } from "./peer-forms.js";

const folder = mkdtempSync(join(tmpdir(), "flashwick-peer-file-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The fixtures have none. */
const TOKENIZER = JSON.stringify({ model: { vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] } });

async function headerOf(fixture: string): Promise<ModelHeader> {
  const path = fileURLToPath(new URL(`../../../../packages/runtime/fixtures/${fixture}`, import.meta.url));
  const sink = memorySink(fixture);
  await convertCheckpoint(await openCheckpointFolder(path), (spec) => createModelWriter(sink, spec), { dtype: "f16" });
  const { header } = await openModelFile(memorySource(sink.committed!, fixture));
  return { ...header, tokenizerJson: TOKENIZER };
}

describe("a peer's file", () => {
  it.each([
    ["falcon", "falcon-tiny-mqa"],
    ["llama", "llama-tiny-relu"],
  ] as const)("of %s opens with the geometry of %s", async (family, fixture) => {
    const header = await headerOf(fixture);
    const path = join(folder, `${fixture}.gguf`);
    await writePeerFile(path, family, header, {});
    const source = await fileSource(path);
    const { geometry } = (await openModelFile(source)).header;
    await source.close();
    expect(geometry.layers.length).toBe(header.geometry.layers.length);
    for (const [index, { attention, ffn }] of geometry.layers.entries()) {
      const own = header.geometry.layers[index]!;
      const heads = { nHeads: own.attention.nHeads, nKvHeads: own.attention.nKvHeads, headDim: own.attention.headDim };
      expect(attention).toMatchObject(heads);
      expect(ffn).toMatchObject({ dFf: own.ffn.dFf, gated: own.ffn.gated });
    }
    const sizes = { dModel: header.geometry.dModel, vocabSize: header.geometry.vocabSize };
    expect(geometry).toMatchObject(sizes);
  });

  it("is not written for a model without a tokenizer", async () => {
    const header = { ...(await headerOf("llama-tiny-relu")), tokenizerJson: null };
    const written = writePeerFile(join(folder, "none.gguf"), "llama", header, {});
    await expect(written).rejects.toThrow("expected a model file with a tokenizer, found one without");
    expect(readdirSync(folder)).not.toContain("none.gguf");
  });

  it.each([
    ["llama", "falcon-tiny-mqa", "expected a Llama, found falcon"],
    ["falcon", "falcon-tiny-gqa", "expected a Falcon with one key and value head, found falcon with 2"],
  ] as const)("of %s is not written for %s", async (family: PeerFamily, fixture, message) => {
    const written = writePeerFile(join(folder, "none.gguf"), family, await headerOf(fixture), {});
    await expect(written).rejects.toThrow(UnsupportedError);
    await expect(written).rejects.toThrow(message);
  });
});
