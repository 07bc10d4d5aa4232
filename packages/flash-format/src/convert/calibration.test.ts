/** Conversions by moments: what is stored, what the file says of it, and what is refused. */
import { isFlashwickError, memorySource, Random } from "@flashwick/core";
import { beforeAll, describe, expect, it } from "vitest";
import { memorySink } from "../memory-sink.js";
import { recordLayout } from "../model-file.js";
import type { NeuronRows } from "../model-writer.js";
import { openMomentsFile, triangleLength, writeMomentsFile } from "../moments-file.js";
import { openModelFile } from "../read-model.js";
import { TINY_MIXTURE } from "../tiny-mixture.fixture.js";
import { withEditedHeader } from "../tiny-model.fixture.js";
import { verifyModelFile } from "../verify.js";
import { decodeNeurons } from "../weight-decoder.js";
import { createModelWriter } from "../write-model.js";
import { type Calibration, checkCalibrates } from "./calibration.js";
import { json, RecordingWriter, safetensors, TINY_CONFIG, tinyTensors } from "./checkpoint-fixture.js";
import { memoryFolder } from "./checkpoint-folder.js";
import { compensateLayer } from "./compensation/compensated-layer.js";
import type { ConvertOptions } from "./conversion.js";
import { convertCheckpoint } from "./convert-checkpoint.js";

const D = 32;
const F = 32;
const CONFIG = { hidden_size: D, word_embed_proj_dim: D };
const folder = () =>
  memoryFolder(
    new Map([
      ["config.json", json({ ...TINY_CONFIG, ...CONFIG })],
      ["model.safetensors", safetensors(tinyTensors(CONFIG))],
    ]),
  );

async function fileOf(options: ConvertOptions) {
  const sink = memorySink("model.gguf");
  const result = await convertCheckpoint(folder(), (spec) => createModelWriter(sink, spec), options);
  return { bytes: sink.committed!, result };
}

async function rowsOf(layer: number): Promise<NeuronRows> {
  let writer!: RecordingWriter;
  await convertCheckpoint(folder(), async (...spec) => (writer = new RecordingWriter(...spec)), { dtype: "f32" });
  const neurons = writer.neurons.get(layer)!;
  const part = (begin: number) => Float32Array.from(neurons.flatMap((values) => values.slice(begin, begin + D)));
  return { up: part(0), down: part(D) };
}

/** Moments of vectors drawn by lot. */
async function calibrationOf(modelFingerprint: string, dFf = [F, F]): Promise<Calibration> {
  const random = new Random(5);
  const triangle = (width: number) => {
    const sums = new Float32Array(triangleLength(width));
    for (let n = 0; n < 3 * width; n++) {
      const cause = random.uniform() - 0.5;
      const x = Float32Array.from({ length: width }, () => random.uniform() - 0.5 + cause);
      for (let i = 0, at = 0; i < width; i++) for (let j = 0; j <= i; j++, at++) sums[at]! += x[i]! * x[j]!;
    }
    return sums;
  };
  const layers = dFf.map((rows) => ({ input: triangle(D), activation: triangle(rows) }));
  const sink = memorySink("moments.gguf");
  await writeMomentsFile(sink, { modelFingerprint, tokens: 96, dModel: D, dFf }, layers);
  return { moments: await openMomentsFile(memorySource(sink.committed!)), hash: "cd".repeat(32) };
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (error: unknown) => (isFlashwickError(error) ? error.code : Promise.reject(error)),
  );

let fingerprint: string;
let calibration: Calibration;
beforeAll(async () => {
  ({ fingerprint } = (await fileOf({ dtype: "f32" })).result);
  calibration = await calibrationOf(fingerprint);
});

const KEPT = [Uint32Array.of(9, 2, 3, 30, 31), Uint32Array.of(4, 5, 6, 1, 0, 20, 21)];
const EVERYONE = Uint32Array.from({ length: F }, (_, i) => i);
const prune = { kept: KEPT, trace: "ab".repeat(32), traceOf: null };
const reversed = EVERYONE.toReversed();
describe.each<[string, ConvertOptions, readonly Uint32Array[]]>([
  ["four bits", { dtype: "q4" }, [EVERYONE, EVERYONE]],
  ["four bits in an order of its own", { dtype: "q4", placement: [reversed, EVERYONE] }, [reversed, EVERYONE]],
  ["four bits and fewer neurons", { dtype: "q4", prune }, KEPT],
  ["fewer neurons", { dtype: "f32", prune }, KEPT],
])("a file of %s", (_, options, kept) => {
  it("has every neuron as the moments would have it, says by which, and is whole", async () => {
    const { bytes, result } = await fileOf({ ...options, calibration });
    const file = await openModelFile(memorySource(bytes));
    const { slotBytes } = recordLayout(file.header);
    expect([file.header.calibration, result.calibration]).toEqual(["cd".repeat(32), "cd".repeat(32)]);
    expect((await verifyModelFile(file)).ok).toBe(true);
    const plain = await fileOf(options);
    expect(result.fingerprint).toBe(plain.result.fingerprint);
    expect([plain.result.calibration, result.ffnBytes]).toEqual([null, plain.result.ffnBytes]);
    const { records } = (await openModelFile(memorySource(plain.bytes))).header;
    for (const { layer, offset } of file.header.records) {
      const form = { dModel: D, dtype: options.dtype as "q4" | "f32", kept: kept[layer]! };
      const expected = compensateLayer(await rowsOf(layer), await calibration.moments.readLayer(layer), form);
      const slots = bytes.subarray(offset, offset + kept[layer]!.length * slotBytes);
      const { up, down } = decodeNeurons(recordLayout(file.header), D, slots);
      expect(up).toEqual(expected.up);
      expect(down).toEqual(expected.down);
      const begin = records[layer]!.offset;
      const before = decodeNeurons(recordLayout(file.header), D, plain.bytes.subarray(begin, begin + slots.length));
      expect(down).not.toEqual(before.down);
    }
    if (options.dtype === "q4") expect(result.loss!.up).toBeGreaterThan(plain.result.loss!.up!);
  });
});

describe("a calibration is refused", () => {
  it("of another model, once the weights are read", async () => {
    const foreign = await calibrationOf("ef".repeat(32));
    expect(await codeOf(fileOf({ dtype: "q4", calibration: foreign }))).toBe("INTEGRITY_FINGERPRINT");
  });

  it("of another shape, and where nothing is lost, before anything is written", async () => {
    const written = (options: ConvertOptions) =>
      convertCheckpoint(folder(), () => Promise.reject(new Error("written")), options);
    const narrow = await calibrationOf(fingerprint, [F, F - 1]);
    expect(await codeOf(written({ dtype: "q4", calibration: narrow }))).toBe("INPUT_INVALID");
    expect(await codeOf(written({ dtype: "f16", calibration }))).toBe("INPUT_INVALID");
  });

  it("for a mixture", () => {
    const check = () => checkCalibrates(calibration, TINY_MIXTURE, { dtype: "q4", pruned: null });
    expect(check).toThrow(/experts/);
  });

  it("where a header claims another hash than one of SHA-256", async () => {
    const { bytes } = await fileOf({ dtype: "q4", calibration });
    const edited = withEditedHeader(bytes, ({ metadata }) =>
      metadata.set("flashwick.calibration.moments", { type: "string", value: "CD".repeat(32) }),
    );
    expect(await codeOf(openModelFile(memorySource(edited)))).toBe("FORMAT_INVALID");
  });
});
