import { describe, expect, it } from "vitest";
import { findModels } from "./hub-models.js";
import type { HubFile } from "./hub-repository.js";

const content = { kind: "sha256", hex: "0".repeat(64) } as const;

function listing(...paths: string[]) {
  const files = paths.map((path, i): HubFile => ({ path, sizeBytes: 10 ** i, content }));
  return { name: "owner/name", commit: "c".repeat(40), files };
}

const found = (paths: string[], path: string | null = null) =>
  findModels(listing(...paths), path).map((model) => [model.kind, model.path, model.files.map((file) => file.path)]);

describe("the models of a repository", () => {
  it("are its GGUF files, each with what lies beside it", () => {
    const paths = [
      "README.md",
      "b.gguf",
      "a.gguf",
      "a.predictor.gguf",
      "a.crc32c.gguf",
      "mmproj-b.gguf",
      "b.imatrix.gguf",
    ];
    expect(found(paths)).toEqual([
      ["gguf", "a.gguf", ["a.gguf", "a.predictor.gguf", "a.crc32c.gguf"]],
      ["gguf", "b.gguf", ["b.gguf"]],
    ]);
  });

  it("are one where a GGUF is split, whichever of its files is named", () => {
    const parts = ["Q4/x-00001-of-00002.gguf", "Q4/x-00002-of-00002.gguf"];
    const model = ["gguf", parts[0], parts];
    expect(found([...parts, "y.gguf"])).toEqual([model, ["gguf", "y.gguf", ["y.gguf"]]]);
    for (const path of [...parts, "Q4"]) expect(found([...parts, "y.gguf"], path)).toEqual([model]);
    expect(findModels(listing(...parts), "Q4")[0]).toMatchObject({ localName: "x-00001-of-00002.gguf", sizeBytes: 11 });
  });

  it("are a checkpoint where there is no GGUF: what conversion reads, and one form of weights", () => {
    const texts = ["config.json", "tokenizer.json", "tokenizer_config.json"];
    const others = ["README.md", "generation_config.json", "pytorch_model.bin", "onnx/model.onnx", "onnx/config.json"];
    const one = findModels(listing(...others, ...texts, "model.safetensors"), null)[0]!;
    expect(one).toMatchObject({ kind: "checkpoint", path: "", localName: "name" });
    expect(one.files.map((file) => file.path)).toEqual([...texts, "model.safetensors"]);
    const index = "model.safetensors.index.json";
    const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    const sharded = [...shards, "consolidated.safetensors", index, ...texts];
    expect(found(sharded)).toEqual([["checkpoint", "", [...texts, index, ...shards]]]);
    const old = ["config.json", "vocab.json", "merges.txt", "pytorch_model.bin", "flax_model.msgpack"];
    expect(found(old)).toEqual([["checkpoint", "", old.slice(0, 4)]]);
  });

  it("are a folder's, where that is named", () => {
    const paths = ["config.json", "model.safetensors", "small/config.json", "small/model.safetensors"];
    expect(found(paths, "small")).toEqual([["checkpoint", "small", paths.slice(2)]]);
    expect(findModels(listing(...paths), "small")[0]).toMatchObject({ localName: "small" });
  });

  it.each([
    [
      "a file that is not there",
      ["a.gguf"],
      "b.gguf",
      "IO_NOT_FOUND",
      /expected a file or folder b\.gguf, found a\.gguf/,
    ],
    ["a repository of something else", ["README.md"], null, "IO_NOT_FOUND", /found 1 other files/],
    [
      "a file of weights by itself",
      ["config.json", "model.safetensors"],
      "model.safetensors",
      "IO_NOT_FOUND",
      /name the repository/,
    ],
    ["a split GGUF of which a part is missing", ["x-00001-of-00002.gguf"], null, "FORMAT_MISSING", /file 2 of 2/],
    ["one of which the first part is missing", ["x-00002-of-00002.gguf"], null, "FORMAT_MISSING", /file 1 of 2/],
    ["a checkpoint without weights", ["config.json", "tokenizer.json"], null, "FORMAT_MISSING", /expected weights/],
    ["a name that leads elsewhere", ["a/../../b.gguf"], null, "FORMAT_INVALID", /below a folder/],
    ["a name that moves the cursor", ["a\u001b[2J.gguf"], null, "FORMAT_INVALID", /\\u001b/],
  ])("refuse %s", (_, paths, path, code, message) => {
    expect(() => findModels(listing(...paths), path)).toThrowError(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
