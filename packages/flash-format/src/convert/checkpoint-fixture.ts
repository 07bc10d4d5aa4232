/**
 * Checkpoints made by hand, and a writer that records: for this folder's tests only. Nothing here is exported by the package.
 */
import { type ByteSource, encodeBfloat16, encodeFloat16, type RecordDType, rowBytes } from "@flashwick/core";
import type { ModelHeader } from "../model-file.js";
import type { ModelSpec, ModelWriter, NeuronRows } from "../model-writer.js";
import { residentTensorsOf } from "../resident-tensors.js";
import type { CheckpointFolder } from "./checkpoint-folder.js";
import { elementCount, type SourceDType } from "./checkpoint-tensor.js";

const text = new TextEncoder();

export function utf8(value: string): Uint8Array {
  return text.encode(value);
}

export function json(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value));
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

/** Little-endian elements of `dtype`. */
export function elements(dtype: SourceDType, values: ArrayLike<number>): Uint8Array {
  if (dtype === "f32") return new Uint8Array(Float32Array.from(values).buffer);
  const bits = new Uint16Array(values.length);
  const encode = dtype === "f16" ? encodeFloat16 : encodeBfloat16;
  for (let i = 0; i < bits.length; i++) bits[i] = encode(values[i]!);
  return new Uint8Array(bits.buffer);
}

export interface FixtureTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A safetensors file. */
export function safetensors(tensors: ReadonlyMap<string, FixtureTensor>): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.byteLength] };
    at += bytes.byteLength;
  }
  return safetensorsFile(header, concat([...tensors.values()].map(({ bytes }) => bytes)));
}

export function safetensorsFile(header: unknown, data: Uint8Array): Uint8Array {
  const headerBytes = typeof header === "string" ? utf8(header) : json(header);
  return concat([new Uint8Array(new BigUint64Array([BigInt(headerBytes.byteLength)]).buffer), headerBytes, data]);
}

/** A zip archive of stored entries. */
export function zip(
  entries: ReadonlyMap<string, Uint8Array>,
  { zip64 = false, method = 0 }: { readonly zip64?: boolean; readonly method?: number } = {},
): Uint8Array {
  const files: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, bytes] of entries) {
    const local = [u32(0x04034b50), u16(45, 0, method, 0, 0), u32(0, bytes.length, bytes.length), u16(name.length, 3)];
    const file = concat([...local, utf8(name), new Uint8Array(3), bytes]);
    const wide = zip64 ? concat([u16(1, 24), u64(bytes.length, bytes.length, at)]) : new Uint8Array(0);
    const sizes = zip64 ? u32(0, 0xffffffff, 0xffffffff) : u32(0, bytes.length, bytes.length);
    directory.push(
      concat([
        ...[u32(0x02014b50), u16(45, 45, 0, method, 0, 0), sizes, u16(name.length, wide.length, 0, 0, 0)],
        ...[u32(0, zip64 ? 0xffffffff : at), utf8(name), wide],
      ]),
    );
    files.push(file);
    at += file.length;
  }
  const entryBytes = concat(directory);
  const n = entries.size;
  const end64 = concat([
    ...[u32(0x06064b50), u64(44), u16(45, 45), u32(0, 0), u64(n, n, entryBytes.length, at)],
    ...[u32(0x07064b50, 0), u64(at + entryBytes.length), u32(1)],
  ]);
  const end = zip64
    ? concat([end64, u32(0x06054b50), u16(0, 0, 0xffff, 0xffff), u32(0xffffffff, 0xffffffff), u16(0)])
    : concat([u32(0x06054b50), u16(0, 0, n, n), u32(entryBytes.length, at), u16(0)]);
  return concat([...files, entryBytes, end]);
}

function u16(...values: number[]): Uint8Array {
  return new Uint8Array(Uint16Array.from(values).buffer);
}

function u32(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function u64(...values: number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values.map(BigInt)).buffer);
}

/** Pickle instructions; `pickle(…)` frames them. Just enough to write what torch.save writes, and what an attacker would. */
export const op = {
  mark: utf8("("),
  tuple: utf8("t"),
  reduce: utf8("R"),
  build: utf8("b"),
  none: utf8("N"),
  persistentId: utf8("Q"),
  emptyTuple: utf8(")"),
  emptyDict: utf8("}"),
  emptyList: utf8("]"),
  setItem: utf8("s"),
  setItems: utf8("u"),
  append: utf8("a"),
  global: (module: string, name: string) => utf8(`c${module}\n${name}\n`),
  string: (value: string) => concat([utf8("X"), u32(utf8(value).length), utf8(value)]),
  integer: (value: number) =>
    value < 2 ** 31 ? concat([utf8("J"), u32(value)]) : concat([Uint8Array.of(0x8a, 8), u64(value)]),
  put: (slot: number) => concat([utf8("r"), u32(slot)]),
  get: (slot: number) => concat([utf8("j"), u32(slot)]),
};

export function pickle(...instructions: readonly Uint8Array[]): Uint8Array {
  return concat([Uint8Array.of(0x80, 2), ...instructions, utf8(".")]);
}

/** The instructions that make a tuple. */
export function tuple(...items: readonly Uint8Array[]): Uint8Array {
  return concat([op.mark, ...items, op.tuple]);
}

export interface StorageView {
  readonly storage: string;
  readonly key: string;
  readonly elements: number;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** The instructions that make a tensor, as torch.save writes them. */
export function pickledTensor(view: StorageView): Uint8Array {
  const id = tuple(
    ...[op.string("storage"), op.global("torch", view.storage), op.string(view.key), op.string("cpu")],
    op.integer(view.elements),
  );
  const hooks = concat([op.global("collections", "OrderedDict"), op.emptyTuple, op.reduce]);
  const args = tuple(
    ...[concat([id, op.persistentId]), op.integer(view.offset)],
    ...[tuple(...view.shape.map(op.integer)), tuple(...view.strides.map(op.integer)), op.none, hooks],
  );
  return concat([op.global("torch._utils", "_rebuild_tensor_v2"), args, op.reduce]);
}

export function pickledDict(items: ReadonlyMap<string, Uint8Array>): Uint8Array {
  return concat([op.emptyDict, op.mark, ...[...items].flatMap(([key, value]) => [op.string(key), value]), op.setItems]);
}

/** A PyTorch weights file with one storage per tensor. */
export function torchFile(tensors: ReadonlyMap<string, FixtureTensor>): Uint8Array {
  const STORAGES: Record<string, string> = { F32: "FloatStorage", F16: "HalfStorage", BF16: "BFloat16Storage" };
  const items = new Map<string, Uint8Array>();
  const entries = new Map<string, Uint8Array>([["archive/byteorder", utf8("little")]]);
  let key = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    const strides = shape.map((_, axis) => elementCount(shape.slice(axis + 1)));
    const view = { storage: STORAGES[dtype]!, key: `${key}`, elements: elementCount(shape), offset: 0, shape, strides };
    items.set(name, pickledTensor(view));
    entries.set(`archive/data/${key++}`, bytes);
  }
  return zip(new Map([["archive/data.pkl", pickle(pickledDict(items))], ...entries]));
}

/** The config.json of the smallest OPT that has everything. */
export const TINY_CONFIG = {
  architectures: ["OPTForCausalLM"],
  model_type: "opt",
  num_hidden_layers: 2,
  hidden_size: 8,
  ffn_dim: 32,
  num_attention_heads: 2,
  vocab_size: 20,
  max_position_embeddings: 6,
  word_embed_proj_dim: 8,
  activation_function: "relu",
  do_layer_norm_before: true,
  torch_dtype: "float16",
} as const;

/** Every tensor of {@link TINY_CONFIG} (or of one changed from it), filled with values that tell where they belong. */
export function tinyTensors(config: Record<string, unknown> = {}, dtype = "F16"): Map<string, FixtureTensor> {
  const c = { ...TINY_CONFIG, ...config } as unknown as Record<string, number>;
  const [d, ff, embedding] = [c.hidden_size!, c.ffn_dim!, c.word_embed_proj_dim!];
  const shapes = new Map<string, number[]>([
    ["model.decoder.embed_tokens.weight", [c.vocab_size!, embedding]],
    ["model.decoder.embed_positions.weight", [c.max_position_embeddings! + 2, d]],
    ["model.decoder.final_layer_norm.weight", [d]],
    ["model.decoder.final_layer_norm.bias", [d]],
  ]);
  for (let layer = 0; layer < c.num_hidden_layers!; layer++) {
    const add = (name: string, shape: number[]) => shapes.set(`model.decoder.layers.${layer}.${name}`, shape);
    for (const projection of ["q_proj", "k_proj", "v_proj", "out_proj"]) {
      add(`self_attn.${projection}.weight`, [d, d]);
      add(`self_attn.${projection}.bias`, [d]);
    }
    for (const norm of ["self_attn_layer_norm", "final_layer_norm"]) {
      add(`${norm}.weight`, [d]);
      add(`${norm}.bias`, [d]);
    }
    add("fc1.weight", [ff, d]);
    add("fc1.bias", [ff]);
    add("fc2.weight", [d, ff]);
    add("fc2.bias", [d]);
  }
  const source = ({ F32: "f32", F16: "f16", BF16: "bf16" } as const)[dtype]!;
  let salt = 0;
  return new Map(
    [...shapes].map(([name, shape]) => {
      const first = salt++;
      const values = Float32Array.from(
        { length: elementCount(shape) },
        (_, i) => ((first * 31 + i * 7) % 251) / 128 - 1,
      );
      return [name, { dtype, shape, bytes: elements(source, values) }];
    }),
  );
}

/** A folder of files in memory that counts how many are open. */
export function countingFolder(files: Readonly<Record<string, Uint8Array>>, onRead: () => void = () => {}) {
  let openFiles = 0;
  const folder: CheckpointFolder = {
    name: "fixtures/tiny",
    fileNames: Object.keys(files),
    async open(name) {
      const bytes = files[name]!;
      openFiles++;
      const source: ByteSource = {
        name,
        sizeBytes: bytes.byteLength,
        async read(target, offset, signal) {
          onRead();
          signal?.throwIfAborted();
          if (offset + target.byteLength > bytes.byteLength) throw new Error(`${name}: read beyond the end`);
          target.set(bytes.subarray(offset, offset + target.byteLength));
        },
        async close() {
          openFiles--;
        },
      };
      return source;
    },
    identify: async (name) => `${files[name]!.byteLength}`,
  };
  return { folder, openFiles: () => openFiles };
}

/** A {@link ModelWriter} that keeps what it is given. */
export class RecordingWriter implements ModelWriter {
  readonly residentTensors;
  readonly rows = new Map<string, number[]>();
  /** Per layer, per neuron: up row, then down column. */
  readonly neurons = new Map<number, number[][]>();
  /** Per layer: rows of all experts, one after the other. */
  readonly experts = new Map<number, number[]>();
  readonly sourceCrcs = new Map<string, number>();
  readonly spec: ModelSpec;
  readonly sourceIdentity: string;
  readonly #done: ReadonlySet<string>;
  readonly loss = null;
  calls = { blocks: 0, abandon: 0, suspend: 0, finish: 0 };

  constructor(spec: ModelSpec, sourceIdentity: string, done: ReadonlySet<string> = new Set()) {
    this.spec = spec;
    this.sourceIdentity = sourceIdentity;
    this.residentTensors = residentTensorsOf(spec.geometry);
    this.#done = done;
  }

  isComplete(name: string): boolean {
    return this.#done.has(name);
  }

  async writeRows(name: string, rows: Float32Array): Promise<void> {
    this.calls.blocks++;
    const kept = this.rows.get(name) ?? [];
    for (const value of rows) kept.push(value);
    this.rows.set(name, kept);
  }

  async writeNeurons(layer: number, firstNeuron: number, { up, down }: NeuronRows): Promise<void> {
    this.calls.blocks++;
    const neurons = this.neurons.get(layer) ?? [];
    if (neurons.length !== firstNeuron) throw new Error(`layer ${layer}: neuron ${firstNeuron} is out of order`);
    const { dModel } = this.spec.geometry;
    for (let i = 0; i < up.length; i += dModel) {
      neurons.push([...up.subarray(i, i + dModel), ...down.subarray(i, i + dModel)]);
    }
    this.neurons.set(layer, neurons);
  }

  async writeColumns(layer: number): Promise<void> {
    throw new Error(`layer ${layer}: columns are not recorded`);
  }

  async writeExpertRows(layer: number, rows: Float32Array): Promise<void> {
    this.calls.blocks++;
    const kept = this.experts.get(layer) ?? [];
    for (const value of rows) kept.push(value);
    this.experts.set(layer, kept);
  }

  async writeExpertBytes(layer: number): Promise<void> {
    throw new Error(`layer ${layer}: bytes are not recorded`);
  }

  async complete(name: string, sourceCrc32c: number): Promise<void> {
    this.sourceCrcs.set(name, sourceCrc32c);
  }

  async finish(): Promise<ModelHeader> {
    this.calls.finish++;
    const { geometry, dtype, tokenizerKind, tokenizerJson } = this.spec;
    return {
      geometry,
      weights: {
        ...{ dtype: dtype as RecordDType, layout: "bundled", strideBytes: 512, parts: [] },
        slotBytes: rowBytes(dtype, 256),
      },
      tensors: new Map(),
      records: [],
      columns: [],
      matrices: [],
      experts: [],
      fingerprint: "0".repeat(64),
      tokenizerJson,
      tokenizerKind,
      fileBytes: 0,
      dataOffset: 0,
      placement: null,
      values: new Map(),
      metadata: new Map(),
    };
  }

  async abandon(): Promise<void> {
    this.calls.abandon++;
  }

  async suspend(): Promise<void> {
    this.calls.suspend++;
  }
}
