/** Models in four bits: records of q4, and resident matrices of a type of their own. */
import { blockBytes, decodeFloat16, isFlashwickError, memorySource, type ResidentDType } from "@flashwick/core";
import { BlockEncoder } from "@flashwick/kernels/reference";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { llamaFormFamily } from "./convert/families/llama.js";
import { crc32c } from "./crc32c.js";
import { memoryJournal, memorySink } from "./memory-sink.js";
import { recordLayout } from "./model-file.js";
import type { ModelSpec } from "./model-writer.js";
import { openModelFile, readRecordChecksums, readResidentTensor } from "./read-model.js";
import {
  decodeElements,
  openTinyModel,
  tinyGeometry,
  tinyModelBytes,
  tinyRows,
  tinySpec,
  withEditedHeader,
  writeTinyModel,
  writeTinyParts,
} from "./tiny-model.fixture.js";
import { verifyModelFile } from "./verify.js";
import { createModelWriter } from "./write-model.js";

const D = 64;
const plain = tinyGeometry({ hidden_size: D, ffn_dim: 9 });
const gated = llamaFormFamily.readGeometry(
  {
    ...{ num_hidden_layers: 2, hidden_size: D, intermediate_size: 9, num_attention_heads: 4, vocab_size: 11 },
    ...{ max_position_embeddings: 6, rms_norm_eps: 1e-5, hidden_act: "relu" },
  },
  "config.json",
);
const FORMS: readonly [string, ModelSpec][] = [
  ["plain, bundled", tinySpec({ geometry: plain, dtype: "q4" })],
  ["plain, split", tinySpec({ geometry: plain, dtype: "q4", layout: "split" })],
  ["gated", tinySpec({ geometry: gated, dtype: "q4" })],
];

const failureOf = async (promise: Promise<unknown>) => {
  const failure = await promise.then(
    () => null,
    (error: unknown) => error,
  );
  expect(isFlashwickError(failure)).toBe(true);
  return failure as { code: string; message: string; details: object };
};

/** What a block of four bits may be off by, of 32 values within ±2: half a step of the coarsest scale, a seventh of the largest. */
const HALF_STEP = 2 / 7;

describe.each(FORMS)("a model of q4 records, %s", (_, spec) => {
  it("gives every neuron back from its slot, its parts as blocks of 32, and its checksum", async () => {
    const { file, bytes } = await openTinyModel(spec);
    const { strideBytes, slotBytes, parts } = recordLayout(file.header);
    expect(strideBytes % 512).toBe(0);
    expect(parts.every(({ scaleOffsetBytes }) => scaleOffsetBytes === null)).toBe(true);
    for (const { layer, offset, downOffset } of file.header.records) {
      const checksums = await readRecordChecksums(file, layer);
      for (let neuron = 0; neuron < 9; neuron++) {
        const at = neuron * strideBytes;
        const halves = [offset, ...(downOffset === null ? [] : [downOffset])];
        const slot = Buffer.concat(halves.map((half) => bytes.subarray(half + at, half + at + strideBytes)));
        expect([slot.length, crc32c(slot)]).toEqual([slotBytes, checksums[neuron]]);
        for (const { role, offsetBytes } of parts) {
          const row = decodeElements("q4", slot.subarray(offsetBytes, offsetBytes + (D / 32) * 18));
          const wanted = tinyRows(`blk.${layer}.ffn_${role}`, neuron, 1, D);
          for (const [i, value] of row.entries()) expect(Math.abs(value - wanted[i]!)).toBeLessThan(HALF_STEP);
        }
      }
    }
    expect((await verifyModelFile(file)).ok).toBe(true);
  });

  it("has resident matrices in Q8_0, within half a step, and vectors in f32", async () => {
    const { file } = await openTinyModel(spec);
    for (const tensor of file.header.tensors.values()) {
      const { name, rows, cols, dtype } = tensor;
      expect(dtype).toBe(rows === 1 ? "f32" : "q8_0");
      const bytes = new Uint8Array(tensor.sizeBytes);
      await readResidentTensor(file, tensor, bytes);
      const wanted = tinyRows(name, 0, rows, cols);
      const bound = rows === 1 ? 0 : 2 / 127 / 2 + 2e-3;
      for (const [i, x] of decodeElements(dtype, bytes).entries()) {
        expect(Math.abs(x - wanted[i]!)).toBeLessThanOrEqual(bound);
      }
    }
  });

  it("is the same, byte for byte, however rows are cut into calls", async () => {
    const whole = await tinyModelBytes(spec, 100);
    for (const rows of [1, 3]) expect(Buffer.compare(await tinyModelBytes(spec, rows), whole)).toBe(0);
  });

  it("says what was lost, by part; an interrupted writing says the same, and gives the same bytes", async () => {
    const [whole, sink, journal] = [memorySink(), memorySink(), memoryJournal()];
    const writer = await createModelWriter(whole, spec);
    await writeTinyParts(writer, spec);
    const loss = writer.loss!;
    await writer.finish();
    const { file, bytes } = { file: await openModelFile(memorySource(whole.committed!)), bytes: whole.committed! };
    const { strideBytes, parts, layout } = recordLayout(file.header);
    expect(Object.keys(loss).sort()).toEqual([...parts.map(({ role }) => role), "resident"].sort());
    for (const { role, offsetBytes } of parts) {
      const sums = { error: 0, whole: 0 };
      for (const { layer, offset, downOffset } of file.header.records) {
        const isHalf = layout === "split" && role === "down";
        for (let neuron = 0; neuron < 9; neuron++) {
          const at = (isHalf ? downOffset! : offset) + neuron * strideBytes + (isHalf ? 0 : offsetBytes);
          const row = decodeElements("q4", bytes.subarray(at, at + (D / 32) * 18));
          tinyRows(`blk.${layer}.ffn_${role}`, neuron, 1, D).forEach((x, i) => {
            sums.error += (x - row[i]!) ** 2;
            sums.whole += x * x;
          });
        }
      }
      expect(loss[role]).toBeCloseTo(Math.sqrt(sums.error / sums.whole), 6);
      expect(loss[role]).toBeLessThan(0.1);
    }
    expect(loss.resident).toBeLessThan(0.01);

    const first = await createModelWriter(sink, spec, { journal });
    const { name, rows, cols } = first.residentTensors[0]!;
    await first.writeRows(name, tinyRows(name, 0, rows, cols));
    await first.complete(name, 7);
    await first.suspend();
    const second = await createModelWriter(sink, spec, { journal });
    expect(second.isComplete(name)).toBe(true);
    await writeTinyParts(second, spec);
    expect(second.loss).toEqual(loss);
  });
});

describe("resident matrices", () => {
  it.each<ResidentDType>(["f32", "f16", "bf16", "int8", "q4_0"])(
    "are %s where that is chosen",
    async (residentDtype) => {
      const { file } = await openTinyModel(tinySpec({ geometry: plain, dtype: "q4", residentDtype }));
      expect(file.header.metadata.get("flashwick.resident.dtype")).toBe(residentDtype);
      const tensor = file.header.tensors.get("blk.1.attn_q.weight")!;
      expect([tensor.dtype, tensor.scales === null]).toEqual([residentDtype, residentDtype !== "int8"]);
      expect((await verifyModelFile(file)).ok).toBe(true);
    },
  );

  it("may be finer or coarser than records of any type; the fingerprint is the same", async () => {
    const fingerprints = new Set<string>();
    for (const [dtype, residentDtype] of [
      ["int8", "f16"],
      ["f16", "q8_0"],
      ["f16", "f16"],
    ] as const) {
      const spec = tinySpec({ geometry: plain, dtype, residentDtype });
      const { file } = await openTinyModel(spec);
      expect(file.header.tensors.get("token_embd.weight")!.dtype).toBe(residentDtype);
      expect(recordLayout(file.header).dtype).toBe(dtype);
      expect(file.header.values.has("flashwick.resident.dtype")).toBe(dtype !== residentDtype);
      fingerprints.add(file.header.fingerprint);
    }
    expect(fingerprints.size).toBe(1);
  });

  it("whose rows are no whole blocks are f16", async () => {
    const geometry = tinyGeometry({ hidden_size: D, word_embed_proj_dim: 48 });
    const { file } = await openTinyModel(tinySpec({ geometry, dtype: "q4" }));
    const dtypeOf = (name: string) => file.header.tensors.get(name)!.dtype;
    expect(["token_embd.weight", "project_in.weight", "project_out.weight"].map(dtypeOf)).toEqual([
      "f16",
      "f16",
      "q8_0",
    ]);
  });
});

describe("a model of q4 records is refused", () => {
  it("where its width is no multiple of 32", async () => {
    const failure = await failureOf(writeTinyModel(memorySink(), tinySpec({ dtype: "q4" })));
    expect(failure).toMatchObject({ code: "UNSUPPORTED_FEATURE", details: { dtype: "q4", dModel: 20 } });
  });

  it.each<[string, Parameters<typeof withEditedHeader>[1], string, RegExp]>([
    [
      "without a type of its matrices",
      ({ metadata }) => metadata.delete("flashwick.resident.dtype"),
      "FORMAT_MISSING",
      /flashwick\.resident\.dtype/,
    ],
    [
      "with matrices of another type than it says",
      ({ metadata }) => metadata.set("flashwick.resident.dtype", { type: "string", value: "q4_0" }),
      "FORMAT_INVALID",
      /Q4_0 \[64, 11\], found Q8_0/,
    ],
    [
      "whose records are called int8",
      ({ metadata }) => metadata.set("flashwick.dtype", { type: "string", value: "int8" }),
      "FORMAT_INVALID",
      /flashwick\.record\.offsets/,
    ],
    [
      "with scales beside its records",
      ({ metadata }) =>
        metadata.set("flashwick.record.offsets", { type: "array", of: "u32", value: Uint32Array.of(0, 64) }),
      "FORMAT_INVALID",
      /0, 36/,
    ],
  ])("%s", async (_, edit, code, message) => {
    const bytes = withEditedHeader(await tinyModelBytes(FORMS[0]![1]), edit);
    const failure = await failureOf(openModelFile(memorySource(bytes, "tiny.gguf")));
    expect([failure.code, failure.message]).toEqual([code, expect.stringMatching(message)]);
  });

  it.each([
    [
      "beyond what a scale of f16 holds",
      1e6,
      /row 40, column 2: 1000000 is beyond the range of q4; convert with --dtype/,
    ],
    ["NaN", Number.NaN, /row 40, column 2: expected a finite number, found NaN/],
    ["infinite", Number.POSITIVE_INFINITY, /found Infinity/],
  ])("with a weight that is %s, by its place", async (_, value, message) => {
    const writer = await createModelWriter(memorySink(), FORMS[0]![1]);
    const [up, down] = [tinyRows("up", 0, 5, D), tinyRows("down", 0, 5, D)];
    down[2 * D + 40] = value;
    const failure = await failureOf(writer.writeNeurons(0, 0, { up, down }));
    expect([failure.code, failure.message]).toEqual(["CHECKPOINT_TENSOR_VALUE", expect.stringMatching(message)]);
  });
});

describe("a block of Q4_0", () => {
  const encode = (values: readonly number[]) => {
    const bytes = new Uint8Array(18);
    const encoder = new BlockEncoder("q4_0", bytes);
    expect(encoder.encode(Float32Array.from(values), 0)).toBe(true);
    return { bytes, error: encoder.squaredError, scale: decodeFloat16(bytes[0]! | (bytes[1]! << 8)) };
  };
  /** ggml's own rule: the largest value is −8 exactly. */
  const errorOfGgml = (values: readonly number[]) => {
    const largest = values.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), 0);
    const scale = largest / -8;
    const q = (x: number) => Math.max(-8, Math.min(7, Math.round(x / scale)));
    return scale === 0 ? 0 : values.reduce((sum, x) => sum + (x - scale * q(x)) ** 2, 0);
  };

  it("keeps sixteen evenly spaced values exactly, elements 16 apart in one byte", () => {
    const { bytes, error } = encode(Array.from({ length: 32 }, (_, i) => 0.5 * ((i % 16) - 8)));
    expect(error).toBe(0);
    expect([...bytes]).toEqual([0x00, 0x38, ...Array.from({ length: 16 }, (_, i) => i | (i << 4))]);
  });

  it("of zeros is a scale of zero, and eights", () => {
    expect([...encode(new Array(32).fill(0)).bytes]).toEqual([0, 0, ...new Array(16).fill(0x88)]);
  });

  it("loses no more than ggml's rule on random weights, by 4 % in the mean", () => {
    let [ours, theirs] = [0, 0];
    const bell = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 });
    const weight = bell.map((parts) => parts.reduce((sum, x) => sum + x, 0));
    fc.assert(
      fc.property(fc.array(weight, { minLength: 32, maxLength: 32 }), (values) => {
        const exact = values.map(Math.fround);
        ours += encode(exact).error;
        theirs += errorOfGgml(exact);
        expect(Number.isFinite(ours)).toBe(true);
      }),
      { numRuns: 400, seed: 5 },
    );
    expect(Math.sqrt(ours / theirs)).toBeLessThan(0.96);
  });

  it("is refused where its scale is infinite as f16, and is zero where it vanishes", () => {
    const encoder = new BlockEncoder("q4_0", new Uint8Array(18));
    expect(encoder.encode(new Float32Array(32).fill(1e7), 0)).toBe(false);
    expect(encode(new Array(32).fill(1e-9)).scale).toBe(0);
    expect(blockBytes("q4")).toBe(18);
  });
});
