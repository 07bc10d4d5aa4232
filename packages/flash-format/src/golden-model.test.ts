/**
 * The format, byte by byte: small models whose files are known in hex (fixtures/golden-*.hex, zero lines left out).
 * A change of these bytes is a change of the format: it needs a new format version.
 */
import { readFileSync } from "node:fs";
import { type ColumnRecords, memorySource } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { llamaFormFamily } from "./convert/families/llama.js";
import { qwen2MoeFamily } from "./convert/families/mixtures.js";
import { optFamily } from "./convert/families/opt.js";
import { memorySink } from "./memory-sink.js";
import { type ColumnTensors, columnsOf, type RecordTensor, recordLayout } from "./model-file.js";
import type { ModelSpec } from "./model-writer.js";
import {
  openModelFile,
  readColumnChecksums,
  readExpertChecksums,
  readRecordChecksums,
  readResidentTensor,
} from "./read-model.js";
import { decodeElements } from "./tiny-model.fixture.js";
import { createModelWriter } from "./write-model.js";

const goldenSpec = (dModel: number, dtype: ModelSpec["dtype"]): ModelSpec => ({
  geometry: {
    ...optFamily.readGeometry(
      {
        ...{ num_hidden_layers: 1, hidden_size: dModel, ffn_dim: 3, num_attention_heads: 1 },
        ...{ vocab_size: 4, max_position_embeddings: 2, eos_token_id: null },
        ...{ _remove_final_layer_norm: true, layer_norm_elementwise_affine: false, enable_bias: false },
      },
      "config.json",
    ),
    embedding: { dim: dModel, scale: 1, positions: { offset: 0 } },
  },
  dtype,
  layout: "bundled",
  strideBytes: "auto",
  tokenizerJson: null,
  tokenizerKind: null,
  name: "golden",
});
const INT8 = goldenSpec(2, "int8");
const Q4 = goldenSpec(32, "q4");

/** Gated neurons with resident gates. */
const GATES: ModelSpec = {
  ...Q4,
  gateDtype: "q8_0",
  residentDtype: "q4_0",
  geometry: llamaFormFamily.readGeometry(
    {
      ...{ num_hidden_layers: 1, hidden_size: 32, intermediate_size: 3, num_attention_heads: 1, vocab_size: 4 },
      ...{ max_position_embeddings: 2, rms_norm_eps: 1e-5, hidden_act: "relu", tie_word_embeddings: true },
    },
    "config.json",
  ),
};

/** Gated neurons by columns, of two inputs and three neurons. */
const COLUMNS: ModelSpec = {
  ...INT8,
  layout: "columns",
  geometry: llamaFormFamily.readGeometry(
    {
      ...{ num_hidden_layers: 1, hidden_size: 2, intermediate_size: 3, num_attention_heads: 1, vocab_size: 4 },
      ...{ max_position_embeddings: 2, rms_norm_eps: 1e-5, hidden_act: "silu", tie_word_embeddings: true },
    },
    "config.json",
  ),
};

/** A mixture of two experts, and a dense layer. */
const EXPERTS: ModelSpec = {
  ...INT8,
  dtype: "f16",
  geometry: qwen2MoeFamily.readGeometry(
    {
      ...{ num_hidden_layers: 2, hidden_size: 4, intermediate_size: 5, num_attention_heads: 1, vocab_size: 4 },
      ...{ num_experts: 2, num_experts_per_tok: 1, moe_intermediate_size: 3, shared_expert_intermediate_size: 2 },
      ...{ mlp_only_layers: [1], max_position_embeddings: 2, tie_word_embeddings: true },
    },
    "config.json",
  ),
};

const LINE_BYTES = 32;
const fixtureOf = (what: string) => readFileSync(new URL(`../fixtures/golden-${what}.hex`, import.meta.url), "utf8");
const fixture = fixtureOf("int8");

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

/** Rows of 32: −8 to 7 twice, times 1, 2, 3, …: exact in four bits. */
function wideRows(rows: number): Float32Array {
  return Float32Array.from({ length: rows * 32 }, (_, i) => ((i % 16) - 8) * (1 + (i >> 5)));
}

async function writeGolden(spec: ModelSpec, rowsOf: (rows: number) => Float32Array): Promise<Uint8Array> {
  const sink = memorySink();
  const writer = await createModelWriter(sink, spec);
  for (const { name, rows } of writer.residentTensors) {
    await writer.writeRows(name, rowsOf(rows));
    await writer.complete(name, 0x01020304);
  }
  await writer.writeNeurons(0, 0, { up: rowsOf(3), down: rowsOf(3).map((x) => -x) });
  await writer.complete("blk.0.ffn", 0x05060708);
  await writer.finish();
  return sink.committed!;
}

/** Gate columns (3, −6, 9)·(1 + j), up columns their negatives, down columns as all other rows. */
async function writeGoldenColumns(): Promise<Uint8Array> {
  const sink = memorySink();
  const writer = await createModelWriter(sink, COLUMNS);
  for (const { name, rows, cols } of writer.residentTensors) {
    await writer.writeRows(name, goldenRows(rows).subarray(0, rows * cols));
    await writer.complete(name, 0x01020304);
  }
  const gate = Float32Array.of(3, -6, 9, 6, -12, 18);
  await writer.writeColumns(0, "inputs", { gate, up: gate.map((x) => -x) });
  await writer.writeColumns(0, "outputs", { down: goldenRows(3) });
  await writer.complete("blk.0.ffn", 0x05060708);
  await writer.finish();
  return sink.committed!;
}

/** Row r of a matrix: r + 1, r + 1.25, r + 1.5, …: exact in f16. */
function countingRows(rows: number, cols: number, first = 0): Float32Array {
  return Float32Array.from({ length: rows * cols }, (_, i) => first + 1 + Math.floor(i / cols) + (i % cols) / 4);
}

async function writeGoldenExperts(): Promise<Uint8Array> {
  const sink = memorySink();
  const writer = await createModelWriter(sink, EXPERTS);
  for (const { name, rows, cols } of writer.residentTensors) {
    await writer.writeRows(name, countingRows(rows, cols));
    await writer.complete(name, 0x01020304);
  }
  for (const first of [0, 10]) {
    await writer.writeExpertRows(0, countingRows(3, 4, first));
    await writer.writeExpertRows(0, countingRows(3, 4, first + 3));
    await writer.writeExpertRows(0, countingRows(4, 3, first + 6));
  }
  await writer.complete("blk.0.ffn", 0x05060708);
  await writer.finish();
  return sink.committed!;
}

describe("the golden model", () => {
  it("is written as fixtures/golden-int8.hex says", async () => {
    expect(hexDump(await writeGolden(INT8, goldenRows))).toBe(fixture);
  });

  it("of q4 is written as fixtures/golden-q4.hex says, and read from there", async () => {
    const known = fixtureOf("q4");
    expect(hexDump(await writeGolden(Q4, wideRows))).toBe(known);
    const bytes = fromHexDump(known);
    const { header } = await openModelFile(memorySource(bytes));
    expect(header.geometry).toEqual(Q4.geometry);
    const [{ offset }] = header.records as [RecordTensor];
    const [up, down] = recordLayout(header).parts.map(({ offsetBytes }) => offset + 512 + offsetBytes);
    expect(decodeElements("q4", bytes.subarray(up!, up! + 18))).toEqual(wideRows(2).subarray(32));
    expect(decodeElements("q4", bytes.subarray(down!, down! + 18))).toEqual(
      wideRows(2)
        .subarray(32)
        .map((x) => -x),
    );
  });

  it("with resident gates is written as fixtures/golden-gate.hex says, and read from there", async () => {
    const known = fixtureOf("gate");
    expect(hexDump(await writeGolden(GATES, wideRows))).toBe(known);
    const bytes = fromHexDump(known);
    const { header } = await openModelFile(memorySource(bytes));
    expect(header.geometry).toEqual(GATES.geometry);
    expect(recordLayout(header).parts.map(({ role }) => role)).toEqual(["up", "down"]);
    const { offset, sizeBytes, dtype } = header.tensors.get("blk.0.ffn_gate.weight")!;
    const gate = decodeElements(dtype, bytes.subarray(offset, offset + sizeBytes));
    for (const [i, x] of wideRows(3).entries()) expect(Math.abs(gate[i]! - x)).toBeLessThan(24 / 127 / 2 + 0.01);
  });

  it("of columns is written as fixtures/golden-columns.hex says, and read from there", async () => {
    const known = fixtureOf("columns");
    expect(hexDump(await writeGoldenColumns())).toBe(known);
    const bytes = fromHexDump(known);
    const { header, source } = await openModelFile(memorySource(bytes));
    expect(header.geometry).toEqual(COLUMNS.geometry);
    const { inputs, outputs } = columnsOf(header)!;
    const [{ inputs: first, outputs: second }] = header.columns as [ColumnTensors];
    const valuesOf = (begin: number, { parts, width }: ColumnRecords) =>
      parts.map(({ offsetBytes, scaleOffsetBytes }) => {
        const at = begin + offsetBytes;
        const scale = new DataView(bytes.buffer).getFloat32(begin + scaleOffsetBytes!, true);
        return Array.from(decodeElements("int8", bytes.subarray(at, at + width)), (q) => Math.round(q * scale));
      });
    expect(valuesOf(first.offset + inputs.strideBytes, inputs)).toEqual([
      [6, -12, 18],
      [-6, 12, -18],
    ]);
    expect(valuesOf(second.offset + 2 * outputs.strideBytes, outputs)).toEqual([[3, -6]]);
    expect(await readColumnChecksums({ header, source }, 0, "inputs")).toHaveLength(2);
    expect(await readColumnChecksums({ header, source }, 0, "outputs")).toHaveLength(3);
  });

  it("of experts is written as fixtures/golden-experts.hex says, and read from there", async () => {
    const known = fixtureOf("experts");
    expect(hexDump(await writeGoldenExperts())).toBe(known);
    const bytes = fromHexDump(known);
    const { header, source } = await openModelFile(memorySource(bytes));
    expect(header.geometry).toEqual(EXPERTS.geometry);
    // A piece of the record, 4096 bytes, with room for what stands before it in its sector and behind it.
    expect(header.weights).toEqual({ layout: "experts", dtype: "f16", slotBytes: 4096 + 1024 });
    const [mixture, dense] = header.experts;
    expect([mixture!.count, dense, header.records, header.matrices]).toEqual([2, null, [], []]);
    const second = mixture!.matrices.map(({ role, rows, cols, dtype, offset, strideBytes, sizeBytes }) => {
      const at = offset + strideBytes;
      return { role, rows, cols, values: [...decodeElements(dtype, bytes.subarray(at, at + sizeBytes))] };
    });
    expect(second).toEqual([
      { role: "gate", rows: 3, cols: 4, values: [...countingRows(3, 4, 10)] },
      { role: "up", rows: 3, cols: 4, values: [...countingRows(3, 4, 13)] },
      { role: "down", rows: 4, cols: 3, values: [...countingRows(4, 3, 16)] },
    ]);
    expect(await readExpertChecksums({ header, source }, 0)).toHaveLength(2);
  });

  it("is read from fixtures/golden-int8.hex", async () => {
    const file = await openModelFile(memorySource(fromHexDump(fixture)));
    expect(file.header.geometry).toEqual(INT8.geometry);
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
    const known = fixture + fixtureOf("q4") + fixtureOf("experts") + fixtureOf("gate") + fixtureOf("columns");
    for (const line of quoted) expect(known).toContain(`${line}\n`);
  });
});
