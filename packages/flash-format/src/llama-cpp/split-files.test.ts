/** Models in several files: how they are put together, and what files that do not fit lead to. */
import { type ByteSource, IoError, memorySource } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GgufValue } from "../gguf.js";
import type { ExpertMatrix } from "../model-file.js";
import { openModelFile } from "../read-model.js";
import {
  type DeclaredTensor,
  f32,
  failureOf,
  ggufFile,
  type Metadata,
  metadataWith,
  text,
  u32,
} from "./gguf-file.fixture.js";
import { mixtureMetadata, mixtureTensors } from "./mixture-file.fixture.js";

const u16 = (value: number): GgufValue => ({ type: "u16", value });
const i32 = (value: number): GgufValue => ({ type: "i32", value });

const D_MODEL = 32;
const matrix = (name: string, ...shape: number[]): DeclaredTensor => ({ name: `${name}.weight`, type: "Q8_0", shape });
const norm = (name: string): DeclaredTensor => ({ name: `${name}.weight`, type: "F32", shape: [D_MODEL] });
const TENSORS: readonly DeclaredTensor[] = [
  matrix("token_embd", D_MODEL, 40),
  norm("output_norm"),
  norm("blk.0.attn_norm"),
  norm("blk.0.ffn_norm"),
  ...["attn_q", "attn_k", "attn_v", "attn_output"].map((name) => matrix(`blk.0.${name}`, D_MODEL, D_MODEL)),
  matrix("blk.0.ffn_gate", D_MODEL, 64),
  matrix("blk.0.ffn_up", D_MODEL, 64),
  matrix("blk.0.ffn_down", 64, D_MODEL),
];
const MODEL: Metadata = {
  "general.architecture": text("llama"),
  "llama.block_count": u32(1),
  "llama.context_length": u32(128),
  "llama.embedding_length": u32(D_MODEL),
  "llama.feed_forward_length": u32(64),
  "llama.attention.head_count": u32(2),
  "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
};

const nameOf = (i: number, count = 3) => `model-0000${i + 1}-of-0000${count}.gguf`;
type Files = Map<string, Uint8Array>;

/** What a file's own keys and tensors are, in place of the right ones. */
interface PartChange {
  readonly keys?: Metadata;
  readonly tensors?: readonly DeclaredTensor[];
}

/** The model in three files, cut before the tensors `cuts`. */
function splitModel(changes: Readonly<Record<number, PartChange>> = {}, cuts: readonly number[] = [3, 6]): Files {
  const starts = [0, ...cuts];
  return new Map(
    starts.map((start, i) => {
      const { keys = {}, tensors = TENSORS.slice(start, starts[i + 1]) } = changes[i] ?? {};
      const own = { "split.no": u16(i), "split.count": u16(3), "split.tensors.count": i32(TENSORS.length), ...keys };
      return [nameOf(i), ggufFile(metadataWith(i === 0 ? MODEL : {}, own), tensors)];
    }),
  );
}

/** Files in memory as they lie in a folder. */
function openAs(files: Files, name = nameOf(0)): ByteSource {
  const open = async (sibling: string): Promise<ByteSource> => {
    const bytes = files.get(sibling);
    if (!bytes) throw new IoError("IO_NOT_FOUND", `${sibling}: no such file`);
    return { ...memorySource(bytes, `models/${sibling}`), openSibling: open };
  };
  return { ...memorySource(files.get(name)!, `models/${name}`), openSibling: open };
}
const refusalOf = (files: Files, name?: string) => failureOf(openModelFile(openAs(files, name)));

describe("a model in several files", () => {
  it("has the tensors of all, each in its own file", async () => {
    const files = splitModel();
    const { header, source } = await openModelFile(openAs(files));
    const whole = await openModelFile(memorySource(ggufFile(metadataWith(MODEL), TENSORS)));
    expect(header.geometry).toEqual(whole.header.geometry);
    expect(source.parts!.map(({ name }) => name)).toEqual([0, 1, 2].map((i) => `models/${nameOf(i)}`));
    expect(header.fileBytes).toBe([...files.values()].reduce((sum, { length }) => sum + length, 0));
    const { down } = header.matrices[0]!;
    const last = source.parts![2]!;
    expect(last.begin % 4096).toBe(0);
    expect(down.offset).toBeGreaterThan(last.begin);
    expect(down.offset + down.sizeBytes).toBeLessThanOrEqual(last.begin + last.sizeBytes);
  });
  it("has the experts of a matrix in one file, and those of another perhaps in the next", async () => {
    const tensors = mixtureTensors("qwen3moe");
    const cut = tensors.findIndex(({ name }) => name === "blk.1.ffn_up_exps.weight");
    const keys = (i: number) => ({
      "split.no": u16(i),
      "split.count": u16(2),
      "split.tensors.count": i32(tensors.length),
    });
    const own = [...mixtureMetadata("qwen3moe"), ...Object.entries(keys(0))];
    const files = new Map([
      [nameOf(0, 2), ggufFile(new Map(own), tensors.slice(0, cut))],
      [nameOf(1, 2), ggufFile(metadataWith({}, keys(1)), tensors.slice(cut))],
    ]);
    const { header, source } = await openModelFile(openAs(files, nameOf(0, 2)));
    const [first, second] = source.parts!;
    const [gate, up, down] = header.experts[1]!.matrices;
    const endOf = ({ offset, strideBytes }: ExpertMatrix) => offset + header.experts[1]!.count * strideBytes;
    expect(endOf(gate!)).toBeLessThanOrEqual(first!.sizeBytes);
    expect(up!.offset).toBeGreaterThan(second!.begin);
    expect(endOf(down!)).toBeLessThanOrEqual(second!.begin + second!.sizeBytes);
    files.set(nameOf(1, 2), files.get(nameOf(1, 2))!.slice(0, -1));
    const failure = await refusalOf(files, nameOf(0, 2));
    expect(failure.code).toBe("FORMAT_TRUNCATED");
    expect(failure.message).toMatch(/model-00002-of-00002.gguf @ .*blk.1.ffn_down_exps.weight/);
  });
  it("may have a first file without tensors, as --no-tensor-first-split makes it", async () => {
    const { header } = await openModelFile(openAs(splitModel({}, [0, 5])));
    expect(header.matrices).toHaveLength(1);
  });
  it("each file has its own alignment", async () => {
    const { header, source } = await openModelFile(
      openAs(splitModel({ 1: { keys: { "general.alignment": u32(8) } } })),
    );
    const query = header.matrices[0]!.query;
    expect((query.offset - source.parts![1]!.begin) % 8).toBe(0);
  });
  it("in one file may say that it is the only one", async () => {
    const bytes = ggufFile(metadataWith(MODEL, { "split.no": u16(0), "split.count": u16(1) }), TENSORS);
    expect((await openModelFile(memorySource(bytes))).source.parts).toBeUndefined();
  });
});

const changed = (i: number, keys: Metadata) => splitModel({ [i]: { keys } });
const without = (i: number) => {
  const files = splitModel();
  files.delete(nameOf(i));
  return files;
};
const exchanged = () => {
  const files = splitModel();
  const [second, third] = [files.get(nameOf(1))!, files.get(nameOf(2))!];
  return files.set(nameOf(1), third).set(nameOf(2), second);
};

describe("refused by name is a split model", () => {
  const cases: [string, Files, code: string, part: string][] = [
    [
      "with a file missing",
      without(2),
      "IO_NOT_FOUND",
      `${nameOf(2)}: file 3 of 3 is missing beside models/${nameOf(0)}`,
    ],
    ["with two files exchanged", exchanged(), "FORMAT_INVALID", `models/${nameOf(1)} @`],
    [
      "with a file of a set of four",
      changed(1, { "split.count": u16(4) }),
      "FORMAT_INVALID",
      '"split.count": expected 3',
    ],
    ["with a file of another model", changed(2, { "split.tensors.count": i32(99) }), "FORMAT_INVALID", nameOf(2)],
    ["whose count is another than its name's", changed(0, { "split.count": u16(4) }), "FORMAT_INVALID", "-of-00004"],
    ["whose count is absurd", changed(0, { "split.count": u32(4e9) }), "FORMAT_INVALID", "split.count"],
    [
      "that counts tensors it has not",
      splitModel({ 2: { tensors: TENSORS.slice(6, 10) } }),
      "FORMAT_INVALID",
      "split.tensors.count",
    ],
    [
      "with a tensor twice",
      splitModel({ 2: { tensors: TENSORS.slice(5) } }),
      "FORMAT_INVALID",
      'tensor "blk.0.attn_k.weight" stands in',
    ],
    [
      "with a tensor in no file",
      splitModel({ 1: { tensors: [norm("other"), ...TENSORS.slice(4, 6)] } }),
      "FORMAT_MISSING",
      'blk.0.ffn_norm.weight" is missing from all 3 files',
    ],
    ["with a file that says nothing of a split", changed(1, { "split.no": null }), "FORMAT_MISSING", nameOf(1)],
    ["with a number that is none", changed(1, { "split.no": text("1") }), "FORMAT_INVALID", nameOf(1)],
  ];
  it.each(cases)("%s", async (_, files, code, part) => {
    const failure = await refusalOf(files);
    expect([failure.code, failure.message]).toEqual([code, expect.stringContaining(part)]);
  });
  it("of which a later file is given", async () => {
    const failure = await refusalOf(splitModel(), nameOf(1));
    expect([failure.code, failure.message]).toEqual(["INPUT_INVALID", expect.stringContaining(`give ${nameOf(0)}`)]);
  });
  it("whose first file was renamed", async () => {
    const files = splitModel();
    files.set("renamed.gguf", files.get(nameOf(0))!);
    expect(await refusalOf(files, "renamed.gguf")).toMatchObject({
      code: "FORMAT_INVALID",
      message: expect.stringContaining("renamed.gguf: the first of 3 files"),
    });
  });
  it("where no file can be opened beside it", async () => {
    const failure = await failureOf(openModelFile(memorySource(splitModel().get(nameOf(0))!, nameOf(0))));
    expect([failure.code, failure.message]).toEqual(["UNSUPPORTED_FEATURE", expect.stringContaining("--merge")]);
  });
  it("whose second file ends early", async () => {
    const files = splitModel();
    files.set(nameOf(1), files.get(nameOf(1))!.slice(0, -100));
    const failure = await refusalOf(files);
    expect([failure.code, failure.message]).toEqual(["FORMAT_TRUNCATED", expect.stringContaining(nameOf(1))]);
  });
});

it("a split model with any bit of a header flipped opens, or is a typed error", async () => {
  const files = splitModel();
  const headerBytes = [nameOf(0), nameOf(1), nameOf(2)].map((name) => {
    const bytes = files.get(name)!;
    return bytes.findLastIndex((byte) => byte !== 0) + 1;
  });
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(2), fc.nat(1e6), fc.nat(7), async (i, at, bit) => {
      const copy = files.get(nameOf(i))!.slice();
      copy[at % headerBytes[i]!]! ^= 1 << bit;
      const opening = openModelFile(openAs(new Map(files).set(nameOf(i), copy)));
      const opened = await opening.then(
        () => true,
        () => false,
      );
      if (opened) return;
      refused++;
      await failureOf(opening);
    }),
    { numRuns: 400 },
  );
  expect(refused).toBeGreaterThan(0);
});
