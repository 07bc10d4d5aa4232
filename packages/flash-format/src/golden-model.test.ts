/**
 * The format, byte by byte: a model of 40 weights whose file is known in hex (fixtures/golden-int8.hex, zero lines left out).
 * A change of these bytes is a change of the format: it needs a new format version.
 */
import { readFileSync } from "node:fs";
import { memorySource } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { optFamily } from "./convert/families/opt.js";
import { memorySink } from "./memory-sink.js";
import type { ModelSpec } from "./model-writer.js";
import { openModelFile, readRecordChecksums, readResidentTensor } from "./read-model.js";
import { createModelWriter } from "./write-model.js";

const GOLDEN_SPEC: ModelSpec = {
  geometry: {
    ...optFamily.readGeometry(
      {
        ...{ num_hidden_layers: 1, hidden_size: 2, ffn_dim: 3, num_attention_heads: 1 },
        ...{ vocab_size: 4, max_position_embeddings: 2, eos_token_id: null },
        ...{ _remove_final_layer_norm: true, layer_norm_elementwise_affine: false, enable_bias: false },
      },
      "config.json",
    ),
    embedding: { dim: 2, scale: 1, positions: { offset: 0 } },
  },
  dtype: "int8",
  layout: "bundled",
  strideBytes: "auto",
  tokenizerJson: null,
  tokenizerKind: null,
  name: "golden",
};

const LINE_BYTES = 32;
const fixture = readFileSync(new URL("../fixtures/golden-int8.hex", import.meta.url), "utf8");

/** Lines of 32 bytes with their offset, those of zeros left out. */
function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    const line = bytes.subarray(at, at + LINE_BYTES);
    if (line.every((byte) => byte === 0)) continue;
    const hex = Buffer.from(line).toString("hex").replace(/.{8}/g, " $&");
    lines.push(`${at.toString(16).padStart(6, "0")} ${hex}`);
  }
  return `${lines.join("\n")}\nsize ${bytes.length}\n`;
}

function fromHexDump(dump: string): Uint8Array {
  const bytes = new Uint8Array(Number(/size (\d+)/.exec(dump)![1]));
  for (const [, offset, hex] of dump.matchAll(/^([0-9a-f]{6}) {2}([0-9a-f ]+)$/gm)) {
    bytes.set(Buffer.from(hex!.replaceAll(" ", ""), "hex"), Number.parseInt(offset!, 16));
  }
  return bytes;
}

/** Rows (1, -2), (2, -4), (3, -6), …: int8 elements 64 and -127, scales 2/127, 4/127, …; 63.5 rounds to the even 64. */
function goldenRows(rows: number): Float32Array {
  return Float32Array.from({ length: rows * 2 }, (_, i) => (i % 2 === 0 ? 1 : -2) * (1 + (i >> 1)));
}

async function writeGolden(): Promise<Uint8Array> {
  const sink = memorySink();
  const writer = await createModelWriter(sink, GOLDEN_SPEC);
  for (const { name, rows } of writer.residentTensors) {
    await writer.writeRows(name, goldenRows(rows));
    await writer.complete(name, 0x01020304);
  }
  await writer.writeNeurons(0, 0, { up: goldenRows(3), down: goldenRows(3).map((x) => -x) });
  await writer.complete("blk.0.ffn", 0x05060708);
  await writer.finish();
  return sink.committed!;
}

describe("the golden model", () => {
  it("is written as fixtures/golden-int8.hex says", async () => {
    expect(hexDump(await writeGolden())).toBe(fixture);
  });

  it("is read from fixtures/golden-int8.hex", async () => {
    const file = await openModelFile(memorySource(fromHexDump(fixture)));
    expect(file.header.geometry).toEqual(GOLDEN_SPEC.geometry);
    const tensor = file.header.tensors.get("token_embd.weight")!;
    const elements = new Int8Array(8);
    const scales = new Float32Array(4);
    await readResidentTensor(file, tensor, new Uint8Array(elements.buffer), new Uint8Array(scales.buffer));
    expect([...elements]).toEqual([64, -127, 64, -127, 64, -127, 64, -127]);
    expect(scales).toEqual(Float32Array.from([2, 4, 6, 8], (x) => x / 127));
    expect(await readRecordChecksums(file, 0)).toHaveLength(3);
  });

  it("is what SPEC.md quotes", () => {
    const spec = readFileSync(new URL("../SPEC.md", import.meta.url), "utf8");
    const quoted = spec.match(/(?<=^ {4})[0-9a-f]{6} {2}[0-9a-f]{8}( [0-9a-f]{8}){7}$/gm) ?? [];
    expect(quoted.length).toBeGreaterThan(5);
    for (const line of quoted) expect(fixture).toContain(`${line}\n`);
  });
});
