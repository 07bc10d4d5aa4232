/** Checkpoints: weights in both forms, config.json, and the documents beside them. */
import { type ByteSource, memorySource } from "@flashwick/core";
import {
  type CheckpointFolder,
  convertCheckpoint,
  parseCheckpointConfig,
  readTensorFile,
} from "@flashwick/flash-format/convert";
import { claimedSource, enough } from "../claimed-source.js";
import { BrokenPromise, bytesOf, choiceOf, type Harness, jsonBytes, textOf } from "../harness.js";
import { fixture, fixtureFolder } from "../repository-files.js";
import { storedZip } from "../stored-zip.js";

const MiB = 2 ** 20;
const LIMITS = { ms: 500, growthBytes: 32 * MiB };

function safetensors(header: object, dataBytes: number): Uint8Array {
  const text = jsonBytes(header);
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

/** The directory of a safetensors file. */
export const safetensorsHeader: Harness = {
  name: "safetensors",
  form: "bytes",
  words: [
    ...[
      '{"',
      '"dtype":"F32"',
      '"BF16"',
      '"shape":[',
      '"data_offsets":[',
      "[0,16]",
      "__metadata__",
      "__proto__",
      "1e308",
      "-1",
    ],
    ...["9007199254740993", "[[[[", "]]]]", "}", "{", '","', "null", "constructor", "F8_E4M3", "4294967295"],
  ],
  maxBytes: 4096,
  limits: LIMITS,
  seeds: async () => [
    safetensors({ a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] }, __metadata__: { format: "pt" } }, 16),
    safetensors(
      { a: { dtype: "BF16", shape: [3], data_offsets: [0, 6] }, b: { dtype: "I64", shape: [], data_offsets: [6, 14] } },
      14,
    ),
    safetensors({}, 0),
  ],
  async read(input) {
    // The length is mended, mostly, so that the text behind it is read.
    if (input.length >= 16 && choiceOf(input, 4) !== 0) {
      const end = input.lastIndexOf(0x7d);
      if (end > 8) new DataView(input.buffer, input.byteOffset).setBigUint64(0, BigInt(end - 7), true);
    }
    const file = await readTensorFile(memorySource(input, "model.safetensors"));
    for (const name of file.shapes.keys()) await file.read(name);
  },
};

const TORCH = "opt-tiny-sharded/pytorch_model-00003-of-00003.bin";
/** From the directory's place on: the storages before it are never read. */
const TAIL_BYTES = 16 * 1024;

/** A PyTorch file: its zip directory, and what the directory leads to. */
export const torchFile: Harness = {
  name: "torch-file",
  form: "bytes",
  words: [
    "PK\x01\x02",
    "PK\x03\x04",
    "PK\x05\x06",
    "PK\x06\x06",
    "PK\x06\x07",
    "data.pkl",
    "data/0",
    "byteorder",
    "little",
    "big",
    "../",
  ],
  maxBytes: TAIL_BYTES,
  limits: LIMITS,
  seeds: async () => [
    storedZip([
      ["a/data.pkl", statePickle()],
      ["a/byteorder", bytesOf("little")],
      ["a/data/0", new Uint8Array(64)],
    ]),
    storedZip([
      ["data.pkl", statePickle()],
      ["data/0", new Uint8Array(64)],
    ]),
  ],
  async read(input) {
    const file = await readTensorFile(memorySource(input, "model.bin"));
    for (const name of file.shapes.keys()) await file.read(name);
  },
};

/** The pickle of a real checkpoint is the entry data.pkl, stored: it begins where its protocol stands. */
function fixturePickle(): Uint8Array {
  const file = fixture(TORCH);
  const text = new TextDecoder("latin1").decode(file);
  const begin = text.indexOf("\x80\x02");
  const end = text.indexOf("PK", text.indexOf("u.", begin));
  return file.slice(begin, end);
}

/** `{"w": a tensor of 4 × 4 in storage 0}`, protocol 2. */
function statePickle(): Uint8Array {
  const text = (value: string) => `X${String.fromCharCode(value.length, 0, 0, 0)}${value}`;
  const storage = `(${text("storage")}ctorch\nFloatStorage\n${text("0")}${text("cpu")}K\x10tQ`;
  const tensor = `ctorch._utils\n_rebuild_tensor_v2\n(${storage}K\x00K\x04K\x04\x86K\x04K\x01\x86\x89ccollections\nOrderedDict\n)RtR`;
  const program = `\x80\x02}q\x00${text("w")}${tensor}s.`;
  return Uint8Array.from(program, (character) => character.charCodeAt(0));
}

/** The pickle of a PyTorch file, in an archive that is in order. */
export const pickle: Harness = {
  name: "pickle",
  form: "bytes",
  words: [
    ...[
      "\x80\x02",
      "ctorch\nFloatStorage\n",
      "ctorch._utils\n_rebuild_tensor_v2\n",
      "ccollections\nOrderedDict\n",
      "cos\nsystem\n",
    ],
    ...[
      "c__builtin__\neval\n",
      "R",
      "b",
      "(",
      "t",
      "Q",
      "}",
      "]",
      ")",
      "\x85",
      "\x86",
      "\x87",
      "q\x00",
      "h\x00",
      "u",
      "e",
      "s",
      "a",
    ],
    ...[
      "X\x07\x00\x00\x00storage",
      "J\xff\xff\xff\xff",
      "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
      "K\x00",
      "M\x00\x01",
      "N",
      ".",
    ],
  ],
  maxBytes: 4096,
  limits: LIMITS,
  seeds: async () => [statePickle(), fixturePickle().slice(0, 4096)],
  async read(input) {
    const archive = storedZip([
      ["a/data.pkl", input],
      ["a/data/0", new Uint8Array(64)],
      ["a/data/1", new Uint8Array(64)],
    ]);
    const file = await readTensorFile(memorySource(archive, "model.bin"));
    for (const name of file.shapes.keys()) await file.read(name);
  },
};

const CONFIGS = [
  ...[
    "falcon-tiny-alibi",
    "falcon-tiny-gqa",
    "gemma3-tiny",
    "gpt-oss-tiny",
    "llama-tiny",
    "llama3-tiny",
    "mistral-tiny",
    "mixtral-tiny",
  ],
  ...[
    "olmoe-tiny",
    "opt-tiny-postnorm",
    "persimmon-tiny",
    "phi-tiny",
    "qwen2-moe-tiny",
    "qwen2-tiny",
    "qwen3-moe-tiny",
    "qwen3-tiny",
  ],
];

/** config.json of every family. */
export const configDocument: Harness = {
  name: "config-json",
  form: "json",
  words: [
    ...[
      "model_type",
      "architectures",
      "rope_scaling",
      "rope_type",
      "type",
      "factor",
      "llama3",
      "yarn",
      "linear",
      "dynamic",
      "hidden_size",
    ],
    ...[
      "num_attention_heads",
      "num_key_value_heads",
      "head_dim",
      "num_experts",
      "num_local_experts",
      "num_experts_per_tok",
      "layer_types",
    ],
    ...[
      "sliding_window",
      "quantization_config",
      "quant_method",
      "mxfp4",
      "mlp_only_layers",
      "decoder_sparse_step",
      "hidden_act",
      "silu",
    ],
    ...[
      "relu",
      "gelu",
      "text_config",
      "bos_token_id",
      "eos_token_id",
      "max_position_embeddings",
      "torch_dtype",
      "float16",
      "alibi",
    ],
  ],
  maxBytes: 128 * 1024,
  limits: LIMITS,
  seeds: async () => CONFIGS.map((name) => fixture(`${name}/config.json`)),
  read: (input) => void parseCheckpointConfig(textOf(input), "config.json"),
};

const shards = fixtureFolder("llama-tiny");

/** What nests too deep to be written out stands for itself as brackets. */
const DEEP = bytesOf("[".repeat(9000) + "]".repeat(9000));

function writtenOut(content: unknown): Uint8Array {
  try {
    return jsonBytes(content);
  } catch {
    return DEEP;
  }
}

/** A folder as its documents say it is; what is opened beside them is a shard of the fixture. */
function folderOf(documents: Record<string, unknown>): CheckpointFolder {
  const names = [...Object.keys(documents), ...shards.keys()].filter((name, i, all) => all.indexOf(name) === i);
  const contents = (name: string): Uint8Array => {
    if (!Object.hasOwn(documents, name)) return shards.get(name)!;
    const content = documents[name];
    return typeof content === "string" ? bytesOf(content) : writtenOut(content);
  };
  return {
    name: "checkpoint",
    fileNames: names,
    async open(name): Promise<ByteSource> {
      if (!names.includes(name)) throw new BrokenPromise(`opens ${JSON.stringify(name)}, which is not in the folder`);
      const bytes = contents(name);
      return claimedSource(bytes, bytes.length, name);
    },
    identify: async (name) => name,
  };
}

const INDEX = "model.safetensors.index.json";

/** The documents of a checkpoint that is converted: config, index of shards, tokenizer; up to its first weight. */
export const checkpointDocuments: Harness = {
  name: "checkpoint-documents",
  form: "json",
  words: [
    ...[
      "config.json",
      INDEX,
      "weight_map",
      "tokenizer.json",
      "vocab.json",
      "merges.txt",
      "tokenizer_config.json",
      "special_tokens_map.json",
    ],
    ...[
      "added_tokens.json",
      "../../etc/passwd",
      "/etc/passwd",
      "..",
      "a\0b",
      "model-00001-of-00003.safetensors",
      "pytorch_model.bin",
    ],
    ...[
      "added_tokens_decoder",
      "bos_token",
      "add_bos_token",
      "tokenizer_class",
      "GPT2Tokenizer",
      "content",
      "model",
      "#version: 0.2\na b",
    ],
  ],
  maxBytes: 64 * 1024,
  limits: { ms: 1000, growthBytes: 64 * MiB },
  async seeds() {
    const config: unknown = JSON.parse(textOf(shards.get("config.json")!));
    const index: unknown = JSON.parse(textOf(shards.get(INDEX)!));
    const whole = { version: "1.0", model: { type: "BPE", vocab: { a: 0 }, merges: [] } };
    const old = {
      "vocab.json": { a: 0, b: 1, ab: 2, "<s>": 3 },
      "merges.txt": "#version: 0.2\na b\n",
      "tokenizer_config.json": {
        tokenizer_class: "GPT2Tokenizer",
        add_bos_token: true,
        bos_token: "<s>",
        eos_token: { content: "b" },
      },
      "special_tokens_map.json": { unk_token: "a", additional_special_tokens: ["b"] },
      "added_tokens.json": { "<pad>": 4 },
    };
    return [
      jsonBytes({ "config.json": config, [INDEX]: index, "tokenizer.json": whole }),
      jsonBytes({ "config.json": config, [INDEX]: index, ...old }),
    ];
  },
  async read(input) {
    const documents: unknown = parsed(input);
    if (typeof documents !== "object" || documents === null || Array.isArray(documents)) throw enough();
    await convertCheckpoint(folderOf(documents as Record<string, unknown>), () => Promise.reject(enough()));
  },
};

function parsed(input: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(input));
  } catch {
    throw enough();
  }
}
