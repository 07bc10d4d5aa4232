/** Headers of model files: ours, and those of llama.cpp. */
import { memorySource } from "@flashwick/core";
import {
  createModelWriter,
  decodeGgufHeader,
  encodeGgufHeader,
  type GgufHeader,
  type GgufValue,
  memorySink,
  openModelFile,
  readFileKind,
  summariseModelFile,
} from "@flashwick/flash-format";
import { convertCheckpoint, memoryFolder } from "@flashwick/flash-format/convert";
import { claimedSource } from "../claimed-source.js";
import { choiceOf, type Harness } from "../harness.js";
import { fixture, fixtureFolder } from "../repository-files.js";
import { seal } from "../sealed-header.js";

const MiB = 2 ** 20;
/** Of the vocabulary of a fixture, so many tokens are kept: most changes are to fall elsewhere. */
const KEPT_ELEMENTS = 6;

const GGUF_WORDS = [
  ...[
    "GGUF",
    "general.architecture",
    "general.alignment",
    "llama",
    "opt",
    "gemma3",
    "qwen3moe",
    "gpt-oss",
    "phi2",
    "falcon",
  ],
  ...["llama.block_count", "llama.embedding_length", "llama.feed_forward_length", "llama.attention.head_count"],
  ...[
    "llama.expert_count",
    "llama.expert_used_count",
    "llama.rope.freq_base",
    "llama.rope.dimension_count",
    "split.count",
  ],
  ...[
    "split.no",
    "split.tensors.count",
    "token_embd.weight",
    "output.weight",
    "output_norm.weight",
    "blk.0.ffn_up.weight",
  ],
  ...[
    "blk.0.attn_q.weight",
    "blk.1.ffn_gate_exps.weight",
    "rope_freqs.weight",
    "flashwick.kind",
    "flashwick.dtype",
    "q4",
  ],
  ...[
    "flashwick.record.stride",
    "flashwick.record.layout",
    "experts",
    "bundled",
    "split",
    "flashwick.placement",
    "table",
  ],
];

const OURS = ["opt-tiny-sharded", "llama-tiny", "mixtral-tiny", "gemma3-tiny"];

async function convertedHeader(name: string): Promise<Uint8Array> {
  const sink = memorySink("model.gguf");
  await convertCheckpoint(memoryFolder(fixtureFolder(name)), (spec) => createModelWriter(sink, spec));
  const bytes = sink.committed!;
  return bytes.slice(0, decodeGgufHeader(bytes, name).headerBytes);
}

/** Our own header, its checksum mended so that what it says is looked at. */
export const ownHeader: Harness = {
  name: "own-header",
  form: "gguf",
  words: GGUF_WORDS,
  maxBytes: 24 * 1024,
  limits: { ms: 500, growthBytes: 32 * MiB },
  seeds: async () => await Promise.all(OURS.map(convertedHeader)),
  async read(input) {
    const { bytes, fileBytes } = choiceOf(input, 8) === 0 ? { bytes: input, fileBytes: null } : seal(input);
    const source = claimedSource(bytes, fileBytes ?? bytes.length, "model.gguf");
    await readFileKind(source);
    summariseModelFile((await openModelFile(source)).header);
  },
};

function withoutVocabulary({ metadata, tensors }: GgufHeader): GgufHeader {
  const short = (value: GgufValue): GgufValue =>
    value.type === "array" ? ({ ...value, value: value.value.slice(0, KEPT_ELEMENTS) } as GgufValue) : value;
  return { metadata: new Map(Array.from(metadata, ([key, value]) => [key, short(value)])), tensors };
}

const FOREIGN = [
  ...["llama", "llama3", "gemma3", "qwen2", "qwen3", "qwen3moe", "mixtral", "olmoe", "gpt-oss", "phi2", "phi2-fused"],
  ...["falcon-7b", "falcon-40b", "falcon-7b-00001-of-00003"],
];
/** Of the file that a header without data claims to be. */
const CLAIMED_BYTES = 2 ** 22;
const SPLIT_NAME = "falcon-7b-00001-of-00003.gguf";

const siblings = new Map(
  ["falcon-7b-00002-of-00003.gguf", "falcon-7b-00003-of-00003.gguf"].map((name) => {
    return [name, memorySource(fixture(`gguf/${name}`), name)] as const;
  }),
);

/** A header of llama.cpp's, of one file or of the first of several. */
export const foreignHeader: Harness = {
  name: "foreign-header",
  form: "gguf",
  words: GGUF_WORDS,
  maxBytes: 24 * 1024,
  limits: { ms: 500, growthBytes: 32 * MiB },
  seeds: async () =>
    FOREIGN.map(
      (name) => encodeGgufHeader(withoutVocabulary(decodeGgufHeader(fixture(`gguf/${name}.gguf`), name))).bytes,
    ),
  async read(input) {
    const sizeBytes = choiceOf(input, 8) === 0 ? input.length : CLAIMED_BYTES;
    const file = await openModelFile(claimedSource(input, sizeBytes, SPLIT_NAME, siblings));
    summariseModelFile(file.header);
  },
};
