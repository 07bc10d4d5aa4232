/** Files of mixtures: what is written is read, and what cannot be is refused. */
import { type DType, isFlashwickError, memorySource } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expertMatrices } from "./expert-record.js";
import type { GgufValue } from "./gguf.js";
import { decodeGgufHeader } from "./gguf-decoder.js";
import { memoryJournal, memorySink } from "./memory-sink.js";
import type { ModelSpec, ModelWriter } from "./model-writer.js";
import { planHeader } from "./planned-header.js";
import { openModelFile, readExpertChecksums, readRecordChecksums } from "./read-model.js";
import { residentTensorsOf } from "./resident-tensors.js";
import { summariseModelFile } from "./summary.js";
import {
  expertBytesOf,
  mixtureBytes,
  mixtureSpec,
  openMixture,
  TINY_MIXTURE,
  tinyExpertRows,
  writeMixtureParts,
} from "./tiny-mixture.fixture.js";
import { decodeElements, type EditableHeader, tinySpec, withEditedHeader } from "./tiny-model.fixture.js";
import { verifyModelFile } from "./verify.js";
import { createModelWriter } from "./write-model.js";

/** What an interrupted writing has finished before the first layer of experts. */
const RESIDENTS = residentTensorsOf(TINY_MIXTURE).length;

async function failureOf(promise: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> {
  try {
    await promise;
  } catch (error) {
    if (isFlashwickError(error)) return error;
    throw error;
  }
  return { code: "none", message: "" };
}

const open = (bytes: Uint8Array) => openModelFile(memorySource(bytes, "mixture.gguf"));

describe("a mixture", () => {
  it.each([
    ["f32", "f32", [0, 0, 0]],
    ["f16", "f16", [0, 0, 0]],
    ["bf16", "bf16", [0, 0, 0]],
    ["q8_0", "q8_0", [0.01, 0.01, 0.01]],
    ["q4", "q4_0", [0.2, 0.2, 0.2]],
  ] as const)("of %s comes back with its geometry, and every weight in its place", async (dtype, stored, most) => {
    const { file, bytes } = await openMixture(mixtureSpec({ dtype }));
    expect(file.header.geometry).toEqual(TINY_MIXTURE);
    expect(file.header.weights).toMatchObject({ layout: "experts", dtype: stored });
    expect(file.header.experts.map((layer) => layer?.count ?? null)).toEqual([3, null, 5]);
    for (const [layer, geometry] of TINY_MIXTURE.layers.entries()) {
      for (let expert = 0; expert < (geometry.experts?.count ?? 0); expert++) {
        for (const [m, { role, rows, cols }] of expertMatrices(geometry, 32).entries()) {
          const { dtype: type, stored: found } = expertBytesOf(file, bytes, layer, expert, m);
          const values = decodeElements(type, found);
          const expected = tinyExpertRows(layer, expert, role, rows, cols);
          const farthest = Math.max(...expected.map((x, i) => Math.abs(x - values[i]!)));
          // Weights are within ±2.
          expect(farthest).toBeLessThanOrEqual(2 * most[m]!);
        }
      }
    }
  });

  it("keeps in DRAM what every token uses: routers, biases, a shared expert, the FFN of a dense layer", async () => {
    const { file } = await openMixture();
    const shapes = [...file.header.tensors.values()].filter(({ name }) => /ffn_(?!norm)|sinks/.test(name));
    expect(shapes.map(({ name, dtype, rows, cols }) => `${name} ${dtype} ${rows}x${cols}`)).toEqual([
      ...["blk.0.attn_sinks.weight f32 1x2", "blk.0.ffn_gate_inp.weight f32 3x32", "blk.0.ffn_gate_inp.bias f32 1x3"],
      ...["blk.0.ffn_gate_exps.bias f32 3x64", "blk.0.ffn_up_exps.bias f32 3x64", "blk.0.ffn_down_exps.bias f32 3x32"],
      ...["blk.1.attn_sinks.weight f32 1x2", "blk.1.ffn_gate.weight f16 64x32", "blk.1.ffn_up.weight f16 64x32"],
      ...["blk.1.ffn_down.weight f16 32x64", "blk.1.ffn_gate.bias f32 1x64", "blk.1.ffn_up.bias f32 1x64"],
      ...["blk.1.ffn_down.bias f32 1x32", "blk.2.attn_sinks.weight f32 1x2", "blk.2.ffn_gate_inp.weight f32 5x32"],
      ...["blk.2.ffn_gate_inp.bias f32 1x5", "blk.2.ffn_gate_exps.bias f32 5x32", "blk.2.ffn_up_exps.bias f32 5x32"],
      ...["blk.2.ffn_down_exps.bias f32 5x32", "blk.2.ffn_gate_inp_shexp.weight f32 1x32"],
      ...["blk.2.ffn_gate_shexp.weight f16 32x32", "blk.2.ffn_up_shexp.weight f16 32x32"],
      "blk.2.ffn_down_shexp.weight f16 32x32",
    ]);
  });

  it("may have matrices of many types, given as they are stored", async () => {
    const dtypes: DType[][] = [["mxfp4", "q5_1", "f32"], [], ["q4_0", "bf16", "iq4_nl"]];
    const spec = mixtureSpec({ expertDTypes: dtypes, residentDtype: "q8_0" });
    const planned = planHeader(TINY_MIXTURE, { dtype: "f16", expertDTypes: dtypes, residentDtype: "q8_0" });
    const sink = memorySink();
    const writer = await createModelWriter(sink, spec);
    for (const { name, rows, cols } of writer.residentTensors) {
      await writer.writeRows(name, new Float32Array(rows * cols));
      await writer.complete(name, 0);
    }
    const bytesOf = (layer: number, expert: number, m: number) => {
      const { sizeBytes } = planned.experts[layer]!.matrices[m]!;
      return Uint8Array.from({ length: sizeBytes }, (_, i) => i + 7 * layer + 11 * expert + 13 * m);
    };
    for (const layer of [0, 2]) {
      for (let expert = 0; expert < planned.experts[layer]!.count; expert++) {
        for (const m of [0, 1, 2]) await writer.writeExpertBytes(layer, bytesOf(layer, expert, m));
      }
      await writer.complete(`blk.${layer}.ffn`, 0);
    }
    await writer.finish();
    const file = await open(sink.committed!);
    expect(file.header.experts.map((layer) => layer?.matrices.map(({ dtype }) => dtype) ?? [])).toEqual(dtypes);
    expect(expertBytesOf(file, sink.committed!, 2, 4, 1).stored).toEqual(bytesOf(2, 4, 1));
    expect(expertBytesOf(file, sink.committed!, 0, 2, 2).stored).toEqual(bytesOf(0, 2, 2));
    expect(await verifyModelFile(file)).toMatchObject({ ok: true, recordsChecked: 8 });
  });

  it.each(["f16", "q4", "q8_0"] as const)("of %s is planned as it is then written", async (dtype) => {
    const { header } = (await openMixture(mixtureSpec({ dtype }))).file;
    const planned = planHeader(TINY_MIXTURE, { dtype });
    const shift = header.dataOffset - planned.dataOffset;
    expect(planned.weights).toEqual(header.weights);
    expect(planned.fileBytes + shift).toBe(header.fileBytes);
    const places = ({ experts }: typeof header) => experts.map((layer) => layer?.matrices ?? null);
    const moved = places(planned).map((all) => all?.map((m) => ({ ...m, offset: m.offset + shift })) ?? null);
    expect(moved).toEqual(places(header));
  });

  it("accounts for every byte", async () => {
    const { file, bytes } = await openMixture();
    const summary = summariseModelFile(file.header);
    const weights = 3 * 3 * 32 * 64 + 5 * 3 * 32 * 32;
    expect(summary).toMatchObject({ ffnBytes: 2 * weights, checksumBytes: 4 * 8, fileBytes: bytes.length });
    const { headerBytes, residentBytes, ffnBytes, checksumBytes, paddingBytes } = summary;
    expect(headerBytes + residentBytes + ffnBytes + checksumBytes + paddingBytes).toBe(bytes.length);
    const residents = summary.tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
    expect(summary.parameters).toBe(residents + weights);
  });
});

describe("checksums of experts", () => {
  it("are read by layer, and only where there are any", async () => {
    const { file, bytes } = await openMixture();
    expect(await readExpertChecksums(file, 2)).toHaveLength(5);
    expect((await failureOf(readExpertChecksums(file, 1))).code).toBe("SHAPE");
    expect((await failureOf(readExpertChecksums(file, 3))).code).toBe("SHAPE");
    expect((await failureOf(readRecordChecksums(file, 0))).code).toBe("SHAPE");
    bytes[file.header.experts[0]!.recordChecks!.crcOffset + 4]! ^= 1;
    const failure = await failureOf(readExpertChecksums(file, 0));
    expect(failure).toMatchObject({ code: "INTEGRITY_TENSOR", message: expect.stringContaining("blk.0.ffn_crc32c") });
  });

  it("find any one flipped bit of the file", async () => {
    const { file, bytes } = await openMixture();
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (at, bit) => {
        bytes[at]! ^= 1 << bit;
        const { ok, bad } = await verifyModelFile(file);
        bytes[at]! ^= 1 << bit;
        expect({ ok, found: bad.length }).toEqual({ ok: false, found: 1 });
        expect(bad[0]!.offset).toBeLessThanOrEqual(at);
      }),
      { numRuns: 60 },
    );
  });

  it("name layer and expert of damage, to the last byte of padding", async () => {
    const { file, bytes } = await openMixture();
    const [first, , last] = file.header.experts;
    const record = (layer: typeof first, expert: number) =>
      layer!.matrices[0]!.offset + expert * layer!.matrices[0]!.strideBytes;
    for (const at of [
      record(first, 1),
      record(last, 5) - 1,
      file.header.tensors.get("blk.0.ffn_gate_inp.bias")!.offset,
    ])
      bytes[at]! ^= 1;
    expect(await verifyModelFile(file)).toMatchObject({
      ...{ ok: false, badCount: 3, recordsChecked: 8, bytesChecked: bytes.length },
      bad: [
        { kind: "tensor", tensor: "blk.0.ffn_gate_inp.bias" },
        { kind: "expert", layer: 0, expert: 1, offset: record(first, 1) },
        { kind: "expert", layer: 2, expert: 4, offset: record(last, 4) },
      ],
    });
  });
});

describe("an interrupted writing of a mixture", () => {
  /** Stops after so many parts, as a killed process does. */
  async function crashAfter(sink: ReturnType<typeof memorySink>, journal: ReturnType<typeof memoryJournal>, n: number) {
    const writer = await createModelWriter(sink, mixtureSpec(), { journal, sourceIdentity: "a" });
    let left = n;
    const complete: ModelWriter["complete"] = async (...part) => {
      if (left-- === 0) throw new Error("killed");
      await writer.complete(...part);
    };
    const dying = new Proxy(writer, {
      get: (target, key) => {
        if (key === "complete") return complete;
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    await expect(writeMixtureParts(dying, mixtureSpec())).rejects.toThrow("killed");
  }

  const doneOf = (writer: ModelWriter) =>
    [...writer.residentTensors.map(({ name }) => name), "blk.0.ffn", "blk.2.ffn"].filter((name) =>
      writer.isComplete(name),
    );

  it.each([0, 7, RESIDENTS, RESIDENTS + 1])(
    "goes on after %i finished parts and ends in the same bytes",
    async (parts) => {
      const [sink, journal] = [memorySink(), memoryJournal()];
      await crashAfter(sink, journal, parts);
      const writer = await createModelWriter(sink, mixtureSpec(), { journal, sourceIdentity: "a" });
      expect(doneOf(writer)).toHaveLength(parts);
      await writeMixtureParts(writer, mixtureSpec());
      await writer.finish();
      expect(Buffer.compare(sink.committed!, await mixtureBytes())).toBe(0);
    },
  );

  it("trusts a layer's experts only if all of their bytes are whole", async () => {
    const { header } = (await openMixture()).file;
    const [sink, journal] = [memorySink(), memoryJournal()];
    await crashAfter(sink, journal, RESIDENTS + 1);
    const { offset, strideBytes } = header.experts[0]!.matrices[0]!;
    await sink.write(Uint8Array.of(0xa5), offset + 3 * strideBytes - 1);
    const writer = await createModelWriter(sink, mixtureSpec(), { journal, sourceIdentity: "a" });
    expect(doneOf(writer)).toHaveLength(RESIDENTS);
    expect(writer.isComplete("blk.0.ffn")).toBe(false);
    await writeMixtureParts(writer, mixtureSpec());
    await writer.finish();
    expect(Buffer.compare(sink.committed!, await mixtureBytes())).toBe(0);
  });
});

describe("what experts are not stored as", () => {
  it.each<[string, Partial<ModelSpec>, RegExp]>([
    ["int8", { dtype: "int8" }, /--dtype q8_0/],
    ["an order of neurons", { placement: [] }, /without --placement/],
    ["split records", { layout: "split" }, /without --layout/],
    ["a stride", { strideBytes: 8192 }, /without --stride/],
  ])("%s is refused before a byte is written, with what to do", async (_, change, message) => {
    const failure = await failureOf(createModelWriter(memorySink(), mixtureSpec(change)));
    expect(failure).toMatchObject({ code: "UNSUPPORTED_FEATURE", message: expect.stringMatching(message) });
  });

  it("widths that are no whole blocks, and experts of 2 GiB", () => {
    const [layer] = TINY_MIXTURE.layers;
    const ofWidth = (dFf: number) => ({ ...TINY_MIXTURE, layers: [{ ...layer!, ffn: { ...layer!.ffn, dFf } }] });
    expect(() => planHeader(ofWidth(48), { dtype: "q4" })).toThrow(
      /layer 0: experts of q4_0: .* multiples of 32, found 48/,
    );
    expect(planHeader(ofWidth(48), { dtype: "f16" }).experts[0]!.matrices[2]!.cols).toBe(48);
    const huge = { ...ofWidth(2 ** 20), dModel: 1024 };
    expect(() => planHeader(huge, { dtype: "f32" })).toThrow(/an expert has 12884901888 bytes, .* smaller --dtype/);
  });

  it("neurons of q8_0, which are no mixture", async () => {
    const failure = await failureOf(createModelWriter(memorySink(), tinySpec({ dtype: "q8_0" })));
    expect(failure).toMatchObject({ code: "UNSUPPORTED_FEATURE", message: expect.stringMatching(/--dtype int8/) });
  });
});

describe("misuse is a bug, not an error of the world", () => {
  it.each<[string, (writer: ModelWriter) => Promise<unknown>]>([
    ["experts of a dense layer", (writer) => writer.writeExpertRows(1, new Float32Array(32))],
    ["half a row", (writer) => writer.writeExpertRows(0, new Float32Array(16))],
    ["rows of two matrices in one call", (writer) => writer.writeExpertRows(0, new Float32Array(65 * 32))],
    ["half a stored row", (writer) => writer.writeExpertBytes(0, new Uint8Array(32))],
    ["complete before all experts are written", (writer) => oneExpert(writer)],
    [
      "neurons of a mixture",
      (writer) => writer.writeNeurons(0, 0, { up: new Float32Array(32), down: new Float32Array(32) }),
    ],
  ])("%s", async (_, misuse) => {
    const writer = await createModelWriter(memorySink(), mixtureSpec());
    await expect(misuse(writer)).rejects.toThrow("flashwick bug");
  });

  async function oneExpert(writer: ModelWriter): Promise<void> {
    for (const [rows, cols] of [
      [64, 32],
      [64, 32],
      [32, 64],
    ] as const) {
      await writer.writeExpertRows(0, new Float32Array(rows * cols));
    }
    await writer.complete("blk.0.ffn", 0);
  }
});

it("a weight that its type cannot hold is named by layer, expert, row and column", async () => {
  const writer = await createModelWriter(memorySink(), mixtureSpec());
  await writer.writeExpertRows(2, new Float32Array(32 * 32));
  const rows = new Float32Array(3 * 32);
  rows[2 * 32 + 5] = 1e6;
  const failure = await failureOf(writer.writeExpertRows(2, rows));
  expect(failure.code).toBe("CHECKPOINT_TENSOR_VALUE");
  expect(failure.message).toBe(
    "blk.2.ffn_up_exps.weight, expert 0, row 2, column 5: 1000000 is beyond the range of f16; convert with --dtype bf16 or f32",
  );
});

const text = (value: string): GgufValue => ({ type: "string", value });
const texts = (...value: string[]): GgufValue => ({ type: "array", of: "string", value });
const F16 = "f16 f16 f16";

const WRONG_FIELDS: readonly (readonly [string, GgufValue])[] = [
  ["general.architecture", text("mixture")],
  ["flashwick.record.layout", text("bundled")],
  ["flashwick.record.layout", text("expert")],
  ["flashwick.expert.dtypes", text(F16)],
  ["flashwick.expert.dtypes", texts(F16, "")],
  ["flashwick.expert.dtypes", texts(F16, "", F16, "")],
  ["flashwick.expert.dtypes", texts(F16, F16, F16)],
  ["flashwick.expert.dtypes", texts(F16, "", "")],
  ["flashwick.expert.dtypes", texts("f16 f16", "", F16)],
  ["flashwick.expert.dtypes", texts(`${F16} f16`, "", F16)],
  ["flashwick.expert.dtypes", texts("f16  f16 f16", "", F16)],
  ["flashwick.expert.dtypes", texts("f16 f16 int8", "", F16)],
  ["flashwick.expert.dtypes", texts("f16 q4 f16", "", F16)],
  ["flashwick.expert.dtypes", texts("f16 q9_9 f16", "", F16)],
  ["flashwick.expert.dtypes", texts("q4_k f16 f16", "", F16)],
  // Of the same size as f16, or of another: the tensors say what is there.
  ["flashwick.expert.dtypes", texts("f32 f32 f32", "", F16)],
  ["flashwick.resident.dtype", text("f32")],
  ["flashwick.resident.dtype", text("q4")],
  ["flashwick.placement", text("table")],
];

describe("a header whose checksum is right, but not", () => {
  it.each(WRONG_FIELDS)("%s = %o", async (key, value) => {
    const edited = withEditedHeader(await mixtureBytes(), ({ metadata }) => metadata.set(key, value));
    const failure = await failureOf(open(edited));
    expect(failure.code).toMatch(/^FORMAT_(INVALID|LIMIT)$/);
    expect(failure.message).toMatch(/^mixture\.gguf/);
  });

  it.each([...new Set(WRONG_FIELDS.map(([key]) => key))])("with %s missing", async (key) => {
    const edited = withEditedHeader(await mixtureBytes(), ({ metadata }) => metadata.delete(key));
    expect(await failureOf(open(edited))).toMatchObject({
      code: "FORMAT_MISSING",
      message: expect.stringContaining(`"${key}"`),
    });
  });

  it.each<[string, unknown, string]>([
    ["layers.0.experts", null, "FORMAT_INVALID"],
    ["layers.0.experts", undefined, "FORMAT_INVALID"],
    ["layers.1.experts", { count: 3, chosen: 2, router: 1, shared: null }, "FORMAT_INVALID"],
    ["layers.0.experts.count", 4, "FORMAT_INVALID"],
    ["layers.0.experts.count", 0, "FORMAT_INVALID"],
    ["layers.0.experts.count", 4097, "FORMAT_INVALID"],
    ["layers.0.experts.count", 2.5, "FORMAT_INVALID"],
    ["layers.0.experts.chosen", 4, "FORMAT_INVALID"],
    ["layers.0.experts.chosen", 0, "FORMAT_INVALID"],
    ["layers.0.experts.router.softmax", "some", "FORMAT_INVALID"],
    ["layers.0.experts.router.normalised", 1, "FORMAT_INVALID"],
    ["layers.0.experts.router.bias", null, "FORMAT_INVALID"],
    ["layers.0.experts.router.groups", 2, "FORMAT_INVALID"],
    ["layers.0.experts.shared", { dFf: 32, gated: false }, "FORMAT_MISSING"],
    ["layers.2.experts.shared.dFf", 64, "FORMAT_INVALID"],
    ["layers.2.experts.shared.dFf", 2 ** 21, "FORMAT_INVALID"],
    ["layers.2.experts.shared.gated", "yes", "FORMAT_INVALID"],
    ["layers.0.ffn.dFf", 96, "FORMAT_INVALID"],
    ["layers.0.ffn.dFf", 2 ** 20, "FORMAT_INVALID"],
    ["layers.1.ffn.dFf", 32, "FORMAT_INVALID"],
    ["layers.0.attention.sinks", false, "FORMAT_INVALID"],
    ["layers.0.attention.sinks", 1, "FORMAT_INVALID"],
  ])("a composition whose %s is %j", async (path, value, code) => {
    const edited = withEditedHeader(await mixtureBytes(), ({ metadata }) => {
      const composition = JSON.parse(metadata.get("flashwick.composition")!.value as string);
      const names = path.split(".");
      const last = names.pop()!;
      names.reduce((part, name) => part[name], composition)[last] = value;
      metadata.set("flashwick.composition", text(JSON.stringify(composition)));
    });
    const failure = await failureOf(open(edited));
    expect(failure.code).toBe(code);
  });

  it.each<[string, (header: EditableHeader, index: number) => void]>([
    ["records of another stride", (h, i) => edit(h, i, { shape: [8192 * 2, 3] })],
    ["records of fewer experts", (h, i) => edit(h, i, { shape: [12288, 2] })],
    ["records of another type", (h, i) => edit(h, i, { type: "F16", shape: [6144, 3] })],
    ["records under another name", (h, i) => edit(h, i, { name: "blk.0.ffn_records" })],
  ])("%s", async (_, change) => {
    const edited = withEditedHeader(await mixtureBytes(), (header) => {
      const index = header.tensors.findIndex(({ name }) => name === "blk.0.ffn_expert_records");
      change(header, index);
    });
    expect((await failureOf(open(edited))).code).toMatch(/^FORMAT_(INVALID|MISSING)$/);
  });

  it("experts that could not be read in one piece", async () => {
    const edited = withEditedHeader(await mixtureBytes(), ({ metadata }) => {
      const composition = JSON.parse(metadata.get("flashwick.composition")!.value as string);
      composition.layers[0].ffn.dFf = 2 ** 20;
      metadata.set("flashwick.composition", text(JSON.stringify(composition)));
      metadata.set("gpt-oss.embedding_length", { type: "u32", value: 1024 });
    });
    const failure = await failureOf(open(edited));
    expect(failure.code).toBe("FORMAT_INVALID");
    expect(failure.message).toMatch(/^mixture\.gguf .*experts of at most 2147479552 bytes, found 6442450944/);
  });

  function edit({ tensors }: EditableHeader, i: number, changes: object): void {
    tensors[i] = { ...tensors[i]!, ...changes };
  }
});

it("a flipped bit anywhere in the header is a typed error", async () => {
  const bytes = await mixtureBytes();
  const { headerBytes } = decodeGgufHeader(bytes, "");
  for (let at = 0; at < headerBytes; at++) {
    bytes[at]! ^= 1 << (at % 8);
    expect((await failureOf(open(bytes))).code, `byte ${at}`).toMatch(/^(FORMAT_|INTEGRITY_HEADER)/);
    bytes[at]! ^= 1 << (at % 8);
  }
});
