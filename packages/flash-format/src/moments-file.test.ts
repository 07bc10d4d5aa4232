import { isFlashwickError, memorySource } from "@flashwick/core";
import { beforeAll, describe, expect, it } from "vitest";
import { readFileKind } from "./container.js";
import type { GgufValue } from "./gguf.js";
import { memorySink } from "./memory-sink.js";
import {
  type LayerMoments,
  momentsBytes,
  openMomentsFile,
  readMomentsHeader,
  triangleLength,
  writeMomentsFile,
} from "./moments-file.js";
import { openModelFile } from "./read-model.js";
import { tinyModelBytes, withEditedHeader } from "./tiny-model.fixture.js";
import { verifyMomentsFile } from "./verify.js";

const HEADER = { modelFingerprint: "5a".repeat(32), tokens: 1000, dModel: 3, dFf: [4, 2] };
const triangle = (rows: number) => Float32Array.from({ length: triangleLength(rows) }, (_, i) => i + 0.5);
const LAYERS: LayerMoments[] = HEADER.dFf.map((rows) => ({ input: triangle(3), activation: triangle(rows) }));

async function bytesOf(layers = LAYERS, header = HEADER): Promise<Uint8Array> {
  const sink = memorySink();
  await writeMomentsFile(sink, header, layers);
  return sink.committed!;
}

const codeOf = async (promise: Promise<unknown>) =>
  await promise.then(
    () => "none",
    (error: unknown) => (isFlashwickError(error) ? error.code : Promise.reject(error)),
  );

let good: Uint8Array;
beforeAll(async () => {
  good = await bytesOf();
});

describe("a file of moments", () => {
  it("gives back what was written, says its size, and is whole", async () => {
    const sink = memorySink();
    const fileBytes = await writeMomentsFile(sink, HEADER, LAYERS);
    expect(sink.committed).toEqual(good);
    const source = memorySource(good);
    expect(await readFileKind(source)).toBe("moments");
    expect(await readMomentsHeader(source)).toEqual({ ...HEADER, fileBytes });
    const file = await openMomentsFile(source);
    expect(await Promise.all(HEADER.dFf.map((_, layer) => file.readLayer(layer)))).toEqual(LAYERS);
    expect(momentsBytes(HEADER)).toBe(4 * (6 + 10 + 6 + 3));
    expect(await verifyMomentsFile(source)).toMatchObject({ ok: true, bytesChecked: good.length });
  });

  it.each<[string, string, GgufValue | null]>([
    ["a fingerprint that is none", "model_fingerprint", { type: "string", value: "5A" }],
    ["no tokens", "tokens", { type: "u64", value: 0n }],
    ["no layers", "block_count", { type: "u32", value: 0 }],
    ["layers that are not there", "block_count", { type: "u32", value: 3 }],
    ["another width", "embedding_length", { type: "u32", value: 4 }],
    ["widths of another type", "feed_forward_lengths", { type: "array", of: "f64", value: Float64Array.of(4, 2) }],
    ["a layer of another width", "feed_forward_lengths", { type: "array", of: "u32", value: Uint32Array.of(5, 2) }],
  ])("with %s is refused", async (_, key, value) => {
    const bytes = withEditedHeader(good, ({ metadata }) => metadata.set(`flashwick.moments.${key}`, value!));
    expect(await codeOf(openMomentsFile(memorySource(bytes)))).toMatch(/^FORMAT_/);
  });

  it("of FFNs too wide is refused before it is written, and before it is read", async () => {
    const dFf = [2 ** 15 + 1, 2];
    expect(await codeOf(bytesOf(LAYERS, { ...HEADER, dFf }))).toBe("FORMAT_LIMIT");
    const wide = withEditedHeader(good, ({ metadata }) =>
      metadata.set("flashwick.moments.feed_forward_lengths", {
        type: "array",
        of: "u32",
        value: Uint32Array.from(dFf),
      }),
    );
    expect(await codeOf(openMomentsFile(memorySource(wide)))).toBe("FORMAT_LIMIT");
  });

  it("with a flipped bit, cut short, or a model file in its place is refused", async () => {
    const flipped = good.slice();
    flipped[good.length - 4096]! ^= 1;
    const file = await openMomentsFile(memorySource(flipped));
    expect(await codeOf(file.readLayer(1))).toBe("INTEGRITY_TENSOR");
    expect(await verifyMomentsFile(memorySource(flipped))).toMatchObject({ ok: false, bad: [{ kind: "tensor" }] });
    expect(await codeOf(openMomentsFile(memorySource(good.subarray(0, good.length - 1))))).toBe("FORMAT_TRUNCATED");
    expect(await codeOf(openMomentsFile(memorySource(await tinyModelBytes())))).toBe("FORMAT_INVALID");
    expect(await codeOf(openModelFile(memorySource(good)))).toBe("FORMAT_INVALID");
  });

  it.each([
    ["a mean of squares below zero", 2, -0.5],
    ["NaN", 1, Number.NaN],
    ["infinity", 5, Number.POSITIVE_INFINITY],
  ])("that holds %s is refused", async (_, at, value) => {
    const input = triangle(3);
    input[at] = value;
    const file = await openMomentsFile(memorySource(await bytesOf([{ ...LAYERS[0]!, input }, LAYERS[1]!])));
    expect(await codeOf(file.readLayer(0))).toBe("FORMAT_INVALID");
    expect(await codeOf(file.readLayer(1))).toBe("none");
  });
});
