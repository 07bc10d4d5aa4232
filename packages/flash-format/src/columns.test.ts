/** Model files by columns: the columns of every projection, the fingerprint that the weights have anyway, and damage found in either kind. */
import { fileURLToPath } from "node:url";
import { COLUMN_STAGES, type ColumnStage, type FlashwickError, memorySource, type RecordDType } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { llamaFormFamily } from "./convert/families/llama.js";
import { type ConvertOptions, convertCheckpoint, convertGguf } from "./convert/index.js";
import { openCheckpointFolder } from "./convert/node.js";
import type { GgufValue } from "./gguf.js";
import { memoryJournal, memorySink } from "./memory-sink.js";
import { columnsOf, type ModelFile, recordLayout } from "./model-file.js";
import type { ModelSpec, ModelWriter } from "./model-writer.js";
import { planHeader } from "./planned-header.js";
import { openModelFile, readColumnChecksums } from "./read-model.js";
import { summariseModelFile } from "./summary.js";
import { decodeElements, tinyGeometry, tinySpec, withEditedHeader } from "./tiny-model.fixture.js";
import { verifyModelFile } from "./verify.js";
import { createModelWriter } from "./write-model.js";

const folderOf = (name: string) =>
  openCheckpointFolder(fileURLToPath(new URL(`../../runtime/fixtures/${name}`, import.meta.url)));

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: FlashwickError) => error,
  );

async function bytesOf(name: string, options: ConvertOptions): Promise<Uint8Array> {
  const sink = memorySink(name);
  await convertCheckpoint(await folderOf(name), (spec) => createModelWriter(sink, spec), options);
  return sink.committed!;
}

const open = (bytes: Uint8Array) => openModelFile(memorySource(bytes, "columns.gguf"));

/** Part `role` of records that stand one behind the other, as f32. */
function partOf(
  bytes: Uint8Array,
  begin: number,
  count: number,
  { strideBytes, parts, dtype }: Pick<ReturnType<typeof recordLayout>, "strideBytes" | "parts" | "dtype">,
  { role, width, bytesEach }: { readonly role: string; readonly width: number; readonly bytesEach: number },
): Float32Array[] {
  const { offsetBytes } = parts.find((part) => part.role === role)!;
  return Array.from({ length: count }, (_, i) => {
    const at = begin + i * strideBytes + offsetBytes;
    return decodeElements(dtype, bytes.subarray(at, at + width * bytesEach));
  });
}

describe.each(["llama-tiny", "phi-tiny", "opt-tiny-sharded", "qwen2-tiny"])("%s by columns", (name) => {
  it.each<[RecordDType, number]>([
    ["f32", 4],
    ["f16", 2],
  ])(
    "of %s: column j of gate and up, and column i of down, are what records of neurons have",
    async (dtype, bytesEach) => {
      const [plainBytes, columnBytes] = [
        await bytesOf(name, { dtype }),
        await bytesOf(name, { dtype, layout: "columns" }),
      ];
      const [plain, file] = [await open(plainBytes), await open(columnBytes)];
      const { geometry } = file.header;
      const { dModel } = geometry;
      const records = recordLayout(plain.header);
      const { inputs, outputs } = columnsOf(file.header)!;
      expect(inputs.parts.map(({ role }) => role)).toEqual(geometry.layers[0]!.ffn.gated ? ["gate", "up"] : ["up"]);
      for (const [layer, { ffn }] of geometry.layers.entries()) {
        const { dFf } = ffn;
        const neuronsOf = (role: string) =>
          partOf(plainBytes, plain.header.records[layer]!.offset, dFf, records, { role, width: dModel, bytesEach });
        const tensors = file.header.columns[layer]!;
        for (const { role } of inputs.parts) {
          const where = { role, width: dFf, bytesEach };
          const columns = partOf(columnBytes, tensors.inputs.offset, dModel, { ...inputs, dtype }, where);
          const rows = neuronsOf(role);
          for (const [j, column] of columns.entries())
            expect(column).toEqual(Float32Array.from(rows, (row) => row[j]!));
        }
        const down = partOf(
          columnBytes,
          tensors.outputs.offset,
          dFf,
          { ...outputs, dtype },
          { role: "down", width: dModel, bytesEach },
        );
        expect(down).toEqual(neuronsOf("down"));
      }
      expect(file.header.fingerprint).toBe(plain.header.fingerprint);
      expect(file.header.metadata.get("flashwick.format.version")).toBe(4);
      expect(plain.header.metadata.get("flashwick.format.version")).toBe(2);
      expect(await verifyModelFile(file)).toMatchObject({
        ok: true,
        recordsChecked: geometry.layers.reduce((sum, { ffn }) => sum + dModel + ffn.dFf, 0),
      });
      expect(summariseModelFile(file.header).parameters).toBe(summariseModelFile(plain.header).parameters);
      const planned = planHeader(geometry, { dtype, layout: "columns" });
      expect([planned.columns.map(({ inputs: { offset } }) => offset).length, planned.weights]).toEqual([
        geometry.layers.length,
        file.header.weights,
      ]);
    },
  );
});

describe("a file by columns", () => {
  const NAME = "llama-tiny";
  const damaged = async (edit: (bytes: Uint8Array, file: ModelFile) => number) => {
    const bytes = (await bytesOf(NAME, { dtype: "f16", layout: "columns" })).slice();
    const file = await open(bytes);
    const at = edit(bytes, file);
    bytes[at]! ^= 4;
    return await verifyModelFile(file);
  };

  it.each<[ColumnStage, string]>([
    ["inputs", "input"],
    ["outputs", "neuron"],
  ])("names the record of %s that has a flipped bit", async (stage, unit) => {
    let begin = 0;
    const { bad } = await damaged((_, { header }) => {
      begin = header.columns[1]![stage].offset + 5 * columnsOf(header)![stage].strideBytes;
      return begin + 17;
    });
    expect(bad).toEqual([{ kind: "record", layer: 1, [unit]: 5, offset: begin }]);
  });

  it.each(COLUMN_STAGES)("reports damaged checksums of %s as a tensor", async (stage) => {
    const { bad } = await damaged((_, { header }) => header.columns[2]![stage].crcOffset + 4);
    expect(bad).toEqual([expect.objectContaining({ kind: "tensor" })]);
    const bytes = (await bytesOf(NAME, { dtype: "f16", layout: "columns" })).slice();
    const file = await open(bytes);
    bytes[file.header.columns[2]![stage].crcOffset + 4]! ^= 1;
    expect((await failureOf(readColumnChecksums(file, 2, stage)))?.code).toBe("INTEGRITY_TENSOR");
  });

  const text = (value: string): GgufValue => ({ type: "string", value });
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const offsets = (...values: number[]): GgufValue => ({ type: "array", of: "u32", value: Uint32Array.from(values) });
  it.each<[string, GgufValue | null, string]>([
    ["flashwick.record.layout", text("bundled"), "FORMAT_INVALID"],
    ["flashwick.record.layout", null, "FORMAT_MISSING"],
    ["flashwick.dtype", text("f32"), "FORMAT_INVALID"],
    ["flashwick.dtype", text("q5_0"), "FORMAT_INVALID"],
    ["flashwick.record.stride", u32(1024), "FORMAT_INVALID"],
    ["flashwick.input.stride", u32(512), "FORMAT_INVALID"],
    ["flashwick.input.stride", null, "FORMAT_MISSING"],
    ["flashwick.input.parts", text("up gate"), "FORMAT_INVALID"],
    ["flashwick.input.offsets", offsets(0, 16), "FORMAT_INVALID"],
    ["flashwick.record.parts", text("up"), "FORMAT_INVALID"],
    ["flashwick.record.offsets", offsets(2), "FORMAT_INVALID"],
    ["flashwick.placement", text("table"), "FORMAT_INVALID"],
    ["flashwick.format.version", u32(2), "FORMAT_INVALID"],
    ["flashwick.format.version", u32(3), "FORMAT_MISSING"],
  ])("with another %s (%s) is refused", async (key, value, code) => {
    const edited = withEditedHeader(await bytesOf(NAME, { dtype: "f16", layout: "columns" }), ({ metadata }) => {
      if (value === null) metadata.delete(key);
      else metadata.set(key, value);
    });
    expect((await failureOf(open(edited)))?.code).toBe(code);
  });

  it("of int8 has the scale of every column behind the columns", async () => {
    const bytes = await bytesOf(NAME, { dtype: "int8", layout: "columns" });
    const exact = await bytesOf(NAME, { dtype: "f32", layout: "columns" });
    const [file, reference] = [await open(bytes), await open(exact)];
    const { inputs } = columnsOf(file.header)!;
    const wide = columnsOf(reference.header)!.inputs;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (let j = 0; j < file.header.geometry.dModel; j++) {
      for (const [p, { offsetBytes, scaleOffsetBytes }] of inputs.parts.entries()) {
        const at = file.header.columns[0]!.inputs.offset + j * inputs.strideBytes;
        const scale = view.getFloat32(at + scaleOffsetBytes!, true);
        const from = reference.header.columns[0]!.inputs.offset + j * wide.strideBytes + wide.parts[p]!.offsetBytes;
        const values = decodeElements("f32", exact.subarray(from, from + 4 * inputs.width));
        const stored = decodeElements("int8", bytes.subarray(at + offsetBytes, at + offsetBytes + inputs.width));
        expect(scale).toBe(Math.fround(Math.max(...values.map(Math.abs)) / 127));
        for (const [i, q] of stored.entries())
          expect(Math.abs(q * scale - values[i]!)).toBeLessThanOrEqual(scale * 0.5001);
      }
    }
  });
});

describe("a conversion to columns", () => {
  it("is continued after an interruption between two layers, to the same bytes", async () => {
    const options: ConvertOptions = { dtype: "f16", layout: "columns" };
    const whole = await bytesOf("llama-tiny", options);
    const [sink, journal, abort] = [memorySink(), memoryJournal(), new AbortController()];
    const stopping = async (spec: ModelSpec): Promise<ModelWriter> => {
      const writer = await createModelWriter(sink, spec, { journal });
      const complete = writer.complete.bind(writer);
      writer.complete = async (name, crc) => {
        await complete(name, crc);
        if (name !== "blk.1.ffn") return;
        abort.abort("enough");
        abort.signal.throwIfAborted();
      };
      return writer;
    };
    const cut = convertCheckpoint(await folderOf("llama-tiny"), stopping, { ...options, signal: abort.signal });
    await expect(cut).rejects.toBe("enough");
    const done: string[] = [];
    await convertCheckpoint(
      await folderOf("llama-tiny"),
      async (spec) => {
        const writer = await createModelWriter(sink, spec, { journal });
        for (const name of ["blk.0.ffn", "blk.1.ffn", "blk.2.ffn"]) if (writer.isComplete(name)) done.push(name);
        return writer;
      },
      options,
    );
    expect(done).toEqual(["blk.0.ffn", "blk.1.ffn"]);
    expect(Buffer.compare(sink.committed!, whole)).toBe(0);
  });

  it("of a model file of ours gives the bytes of the checkpoint's, and columns are converted no further", async () => {
    const plain = await bytesOf("llama-tiny", { dtype: "f32" });
    const sink = memorySink();
    await convertGguf(memorySource(plain, "llama"), "v1", (spec) => createModelWriter(sink, spec), {
      layout: "columns",
    });
    const [direct, again] = [
      await open(await bytesOf("llama-tiny", { dtype: "f32", layout: "columns" })),
      await open(sink.committed!),
    ];
    expect(again.header.fingerprint).toBe(direct.header.fingerprint);
    for (const stage of COLUMN_STAGES) {
      expect(await readColumnChecksums(again, 1, stage)).toEqual(await readColumnChecksums(direct, 1, stage));
    }
    const further = convertGguf(memorySource(sink.committed!, "columns"), "v1", () =>
      Promise.reject(new Error("written")),
    );
    expect(await failureOf(further)).toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining("records of columns"),
    });
  });

  it("names the weight that its type cannot hold by its row and column in the checkpoint", async () => {
    const spec = tinySpec({ layout: "columns" });
    const writer = await createModelWriter(memorySink(), spec);
    const up = new Float32Array(20 * 7);
    up[3 * 7 + 5] = 1e6;
    expect(await failureOf(writer.writeColumns(1, "inputs", { up }))).toMatchObject({
      code: "CHECKPOINT_TENSOR_VALUE",
      details: { tensor: "blk.1.ffn_up.weight", row: 5, column: 3 },
    });
  });

  const gated = llamaFormFamily.readGeometry(
    {
      ...{ num_hidden_layers: 1, hidden_size: 64, intermediate_size: 40, num_attention_heads: 4, vocab_size: 11 },
      ...{ max_position_embeddings: 6, rms_norm_eps: 1e-5, hidden_act: "relu" },
    },
    "config.json",
  );
  const { layers } = tinyGeometry({ ffn_dim: 6 });
  const narrow = layers[1]!;
  const order = [Uint32Array.from({ length: 7 }, (_, i) => i)];
  it.each<[string, Partial<ModelSpec>]>([
    ["--stride", { strideBytes: 1024 }],
    ["--gate-first", { geometry: gated, gateDtype: "q8_0" }],
    ["--placement", { placement: [order[0]!, order[0]!] }],
    ["--calibration", { calibration: { moments: "ab".repeat(32), momentsOf: "cd".repeat(32) } }],
    ["multiples of 32, found 40", { geometry: gated, dtype: "q4" }],
    ["layers of one width", { geometry: { ...tinyGeometry(), layers: [tinyGeometry().layers[0]!, narrow] } }],
  ])("is refused with %s", async (found, change) => {
    const failure = await failureOf(createModelWriter(memorySink(), tinySpec({ ...change, layout: "columns" })));
    expect(failure).toMatchObject({ code: "UNSUPPORTED_FEATURE", message: expect.stringContaining(found) });
  });
});
