/** Model files whose gates are resident: records of two parts, a matrix a layer beside them, and the fingerprint that the weights have anyway. */
import { fileURLToPath } from "node:url";
import { type FlashwickError, memorySource, type RecordDType, type ResidentDType } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { llamaFormFamily } from "./convert/families/llama.js";
import { type ConvertOptions, convertCheckpoint } from "./convert/index.js";
import { openCheckpointFolder } from "./convert/node.js";
import type { GgufValue } from "./gguf.js";
import { memoryJournal, memorySink } from "./memory-sink.js";
import { type ModelFile, recordLayout } from "./model-file.js";
import { openModelFile, readResidentTensor } from "./read-model.js";
import {
  decodeElements,
  openTinyModel,
  tinyModelBytes,
  tinyRows,
  tinySpec,
  withEditedHeader,
  writeTinyParts,
} from "./tiny-model.fixture.js";
import { verifyModelFile } from "./verify.js";
import { createModelWriter } from "./write-model.js";

const D = 64;
const F = 9;
const geometryWith = (hidden_act: string) =>
  llamaFormFamily.readGeometry(
    {
      ...{ num_hidden_layers: 2, hidden_size: D, intermediate_size: F, num_attention_heads: 4, vocab_size: 11 },
      ...{ max_position_embeddings: 6, rms_norm_eps: 1e-5, hidden_act },
    },
    "config.json",
  );
const geometry = geometryWith("relu");
const specOf = (dtype: RecordDType, gateDtype: ResidentDType | null, layout: "bundled" | "split" = "bundled") =>
  tinySpec({ geometry, dtype, gateDtype, layout });
const GATE = "blk.1.ffn_gate.weight";

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: FlashwickError) => error,
  );

async function matrixOf(file: ModelFile, name: string): Promise<Float32Array> {
  const tensor = file.header.tensors.get(name)!;
  const bytes = new Uint8Array(tensor.sizeBytes);
  const scales = new Float32Array((tensor.scales?.sizeBytes ?? 0) / 4);
  await readResidentTensor(file, tensor, bytes, new Uint8Array(scales.buffer));
  return decodeElements(tensor.dtype, bytes);
}

describe.each(["bundled", "split"] as const)("a model with resident gates, %s", (layout) => {
  it("has records of up and down, and a gate of a type of its own, a layer", async () => {
    const { file, bytes } = await openTinyModel(specOf("f16", "f32", layout));
    const { header } = file;
    expect(header.metadata.get("flashwick.format.version")).toBe(3);
    expect(header.metadata.get("flashwick.gate.dtype")).toBe("f32");
    const { parts, strideBytes, slotBytes } = recordLayout(header);
    expect(parts.map(({ role }) => role)).toEqual(["up", "down"]);
    expect([strideBytes, slotBytes]).toEqual(layout === "split" ? [512, 1024] : [512, 512]);
    const { offset } = header.records[1]!;
    const up = bytes.subarray(offset + 2 * strideBytes, offset + 2 * strideBytes + 2 * D);
    expect(decodeElements("f16", up)).toEqual(tinyRows("blk.1.ffn_up", 2, 1, D));
    expect(header.tensors.get(GATE)).toMatchObject({ dtype: "f32", rows: F, cols: D });
    expect(await matrixOf(file, GATE)).toEqual(tinyRows(GATE, 0, F, D));
    expect((await verifyModelFile(file)).ok).toBe(true);
  });
});

describe("a model with resident gates", () => {
  it("has the fingerprint of the one whose records have them: predictors fit both", async () => {
    const { file: plain } = await openTinyModel(specOf("f16", null));
    const { file: gates } = await openTinyModel(specOf("int8", "q4_0"));
    expect(gates.header.fingerprint).toBe(plain.header.fingerprint);
    expect(plain.header.metadata.get("flashwick.format.version")).toBe(2);
  });

  it("says what its gates lost as the gate's loss", async () => {
    const writer = await createModelWriter(memorySink(), specOf("f16", "q4_0"));
    await writeTinyParts(writer, specOf("f16", "q4_0"));
    expect(Object.keys(writer.loss!)).toEqual(["gate"]);
    expect(writer.loss!.gate).toBeGreaterThan(0.01);
    expect(writer.loss!.gate).toBeLessThan(0.1);
  });

  it("a flipped bit of a gate is found, and named", async () => {
    const bytes = await tinyModelBytes(specOf("f16", "q8_0"));
    const { header } = await openModelFile(memorySource(bytes));
    bytes[header.tensors.get(GATE)!.offset + 40]! ^= 4;
    const { ok, bad } = await verifyModelFile(await openModelFile(memorySource(bytes)));
    expect([ok, bad.map(({ tensor }) => tensor)]).toEqual([false, [GATE]]);
  });

  const text = (value: string): GgufValue => ({ type: "string", value });
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  it.each<[string, string, GgufValue | null, string]>([
    ["without the type of its gates", "flashwick.gate.dtype", null, "FORMAT_MISSING"],
    ["with gates of no type that there is", "flashwick.gate.dtype", text("q5_0"), "FORMAT_INVALID"],
    ["with gates of another type than the tensor's", "flashwick.gate.dtype", text("f16"), "FORMAT_INVALID"],
    ["that says it is version 2", "flashwick.format.version", u32(2), "FORMAT_INVALID"],
    ["with records of three parts", "flashwick.record.parts", text("gate up down"), "FORMAT_INVALID"],
  ])("%s is refused", async (_, key, value, code) => {
    const edited = withEditedHeader(await tinyModelBytes(specOf("f16", "q8_0")), ({ metadata }) => {
      if (value === null) metadata.delete(key);
      else metadata.set(key, value);
    });
    expect((await failureOf(openModelFile(memorySource(edited))))?.code).toBe(code);
  });

  it("of neurons without gates is refused: version 3 is for gates", async () => {
    const edited = withEditedHeader(await tinyModelBytes(), ({ metadata }) => {
      metadata.set("flashwick.format.version", u32(3)).set("flashwick.gate.dtype", text("q8_0"));
    });
    const failure = await failureOf(openModelFile(memorySource(edited)));
    expect(failure).toMatchObject({ code: "FORMAT_INVALID", message: expect.stringContaining("neurons with a gate") });
  });

  it.each([
    [tinySpec({ gateDtype: "q8_0" }), "neurons without one"],
    [tinySpec({ geometry: geometryWith("silu"), gateDtype: "q8_0" }), "silu"],
  ])("is not written where gates say nothing", async (spec, found) => {
    const failure = await failureOf(createModelWriter(memorySink(), spec));
    expect(failure).toMatchObject({ code: "UNSUPPORTED_FEATURE", message: expect.stringContaining(found) });
  });
});

describe("a checkpoint converted with resident gates", () => {
  const FOLDER = fileURLToPath(new URL("../../runtime/fixtures/llama-tiny-relu", import.meta.url));
  const ROWS = 256;

  async function converted(
    options: ConvertOptions,
    sink = memorySink(),
    journal = memoryJournal(),
  ): Promise<ModelFile> {
    const folder = await openCheckpointFolder(FOLDER);
    await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec, { journal }), { dtype: "f32", ...options });
    return await openModelFile(memorySource(sink.committed!));
  }

  /** Part `part` of every record, in the order of records. */
  async function recordRows({ header, source }: ModelFile, part: number): Promise<Float32Array> {
    const { strideBytes, parts } = recordLayout(header);
    const bytes = new Uint8Array(ROWS * strideBytes);
    await source.read(bytes, header.records[1]!.offset);
    const at = (neuron: number) => neuron * strideBytes + parts[part]!.offsetBytes;
    const rows = Array.from({ length: ROWS }, (_, i) => [
      ...decodeElements("f32", bytes.subarray(at(i), at(i) + 4 * D)),
    ]);
    return Float32Array.from(rows.flat());
  }

  it("has the rows that records would have, and the same fingerprint", async () => {
    const [plain, gates] = [await converted({}), await converted({ gateDtype: "f32" })];
    expect(await matrixOf(gates, GATE)).toEqual(await recordRows(plain, 0));
    expect(await recordRows(gates, 0)).toEqual(await recordRows(plain, 1));
    expect(await recordRows(gates, 1)).toEqual(await recordRows(plain, 2));
    expect(gates.header.fingerprint).toBe(plain.header.fingerprint);
  });

  it("in an order of its own: gates go with their neurons", async () => {
    const order = Uint32Array.from({ length: ROWS }, (_, i) => ROWS - 1 - i);
    const plain = await converted({ gateDtype: "f32" });
    const placed = await converted({ gateDtype: "f32", placement: [order, order, order] });
    const backwards = (rows: Float32Array) => {
      const out = new Float32Array(rows.length);
      for (const [i, neuron] of order.entries()) out.set(rows.subarray(neuron * D, (neuron + 1) * D), i * D);
      return out;
    };
    expect(await matrixOf(placed, GATE)).toEqual(backwards(await matrixOf(plain, GATE)));
    expect(await recordRows(placed, 0)).toEqual(backwards(await recordRows(plain, 0)));
  });

  it("goes on after an interruption between a layer's gate and its records", async () => {
    const whole = memorySink();
    await converted({ gateDtype: "q8_0" }, whole);
    const [sink, journal, folder] = [memorySink(), memoryJournal(), await openCheckpointFolder(FOLDER)];
    const abort = new AbortController();
    const cut = convertCheckpoint(
      folder,
      async (spec) => {
        const writer = await createModelWriter(sink, spec, { journal });
        const complete = writer.complete.bind(writer);
        writer.complete = async (name, crc) => {
          await complete(name, crc);
          if (name === GATE) {
            abort.abort("enough");
            abort.signal.throwIfAborted();
          }
        };
        return writer;
      },
      { dtype: "f32", gateDtype: "q8_0", signal: abort.signal },
    );
    await expect(cut).rejects.toBe("enough");
    await converted({ gateDtype: "q8_0" }, sink, journal);
    expect(Buffer.compare(sink.committed!, whole.committed!)).toBe(0);
  });
});
