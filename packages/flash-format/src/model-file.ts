/**
 * What reading and writing a model file looks like from outside; SPEC.md has the bytes.
 */
import {
  type ByteSource,
  type ColumnLayout,
  type ColumnStage,
  type DType,
  type FfnLayout,
  type ModelGeometry,
  type RecordRole,
  UnsupportedError,
  type WeightLayout,
} from "@flashwick/core";
import type { GgufValue } from "./gguf.js";

/** Role of a resident tensor. GGUF names are these; `blk.<layer>.` in front for those of a layer. */
export type TensorRole =
  | "token_embd.weight"
  | "position_embd.weight"
  | "project_in.weight"
  | "project_out.weight"
  | "output_norm.weight"
  | "output_norm.bias"
  | "output.weight"
  | "output.bias"
  | "attn_norm.weight"
  | "attn_norm.bias"
  | "post_attention_norm.weight"
  | "post_attention_norm.bias"
  | "attn_q.weight"
  | "attn_q.bias"
  | "attn_k.weight"
  | "attn_k.bias"
  | "attn_v.weight"
  | "attn_v.bias"
  | "attn_q_norm.weight"
  | "attn_q_norm.bias"
  | "attn_k_norm.weight"
  | "attn_k_norm.bias"
  | "attn_output.weight"
  | "attn_output.bias"
  | "ffn_norm.weight"
  | "ffn_norm.bias"
  | "post_ffw_norm.weight"
  | "post_ffw_norm.bias"
  | "ffn_gate.weight"
  | "ffn_gate.bias"
  | "ffn_up.weight"
  | "ffn_up.bias"
  | "ffn_down.weight"
  | "ffn_down.bias"
  | "attn_sinks.weight"
  | "ffn_gate_inp.weight"
  | "ffn_gate_inp.bias"
  | "ffn_gate_exps.bias"
  | "ffn_up_exps.bias"
  | "ffn_down_exps.bias"
  | "ffn_gate_inp_shexp.weight"
  | "ffn_gate_shexp.weight"
  | "ffn_up_shexp.weight"
  | "ffn_down_shexp.weight";

/** A tensor that stays in DRAM. Vectors (norms, biases) are f32. */
export interface ResidentTensor {
  /** GGUF name: `token_embd.weight`, `blk.3.attn_q.weight`. */
  readonly name: string;
  readonly dtype: DType;
  /** Rows and columns; a vector has one row. Row-major, `cols` innermost. */
  readonly rows: number;
  readonly cols: number;
  /** Absolute file offset and size of the elements. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** Null in a file of llama.cpp's, which has none. */
  readonly crc32c: number | null;
  /** int8 only: the f32 `[rows]` scales, stored as the tensor `<name>.scale`. */
  readonly scales: { readonly offset: number; readonly sizeBytes: number; readonly crc32c: number } | null;
}

/** One layer's neuron records. Neuron i stands at `offset + i * strideBytes` (bundled). */
export interface RecordTensor {
  readonly layer: number;
  /** Absolute file offset of neuron 0: its whole record, or its up row when split. */
  readonly offset: number;
  /** Split layout only: absolute file offset of neuron 0's down column. */
  readonly downOffset: number | null;
  /** Absolute file offset of u32 `[dFf]` CRC-32C, one per neuron over its whole slot (both halves in order when split). */
  readonly crcOffset: number;
  /** CRC-32C of those checksums themselves. */
  readonly crcOfCrcs: number;
}

/** One kind of column of a layer. Record i stands at `offset + i * strideBytes`. */
export interface ColumnTensor {
  /** Absolute file offset of record 0. */
  readonly offset: number;
  /** Absolute file offset of the u32 CRC-32C of the records, one each over its whole stride. */
  readonly crcOffset: number;
  /** CRC-32C of those checksums themselves. */
  readonly crcOfCrcs: number;
}

/** The records of a layer by columns. */
export type ColumnTensors = Readonly<Record<ColumnStage, ColumnTensor>>;

/** One matrix of every expert of a layer, row by row. Expert e's begins at `offset + e * strideBytes`. */
export interface ExpertMatrix {
  readonly role: RecordRole;
  /** The tensor that holds it, for messages. */
  readonly tensor: string;
  readonly dtype: DType;
  /** Of one expert. */
  readonly rows: number;
  readonly cols: number;
  readonly sizeBytes: number;
  /** Absolute file offset of expert 0's. */
  readonly offset: number;
  readonly strideBytes: number;
}

/** The experts of one layer. In our files an expert's matrices lie behind each other in one record, and in llama.cpp's in three tensors. */
export interface ExpertTensors {
  readonly count: number;
  /** In the order in which they are used: gate, up, down. */
  readonly matrices: readonly ExpertMatrix[];
  /**
   * Our files: where the u32 `[count]` CRC-32C of the records lie, each over all `strideBytes` of one, and their own CRC-32C. Null in a file of
   * llama.cpp's.
   */
  readonly recordChecks: { readonly crcOffset: number; readonly crcOfCrcs: number } | null;
}

/** The matrices of a layer, in the order in which they are used. */
export const MATRIX_NAMES = ["query", "key", "value", "output", "gate", "up", "down"] as const;
/** One matrix of a layer in a GGUF file of llama.cpp. */
export type MatrixName = (typeof MATRIX_NAMES)[number];

/** Something for each matrix of a layer; there is no `gate` where the FFN has none. */
export type ByMatrix<T> = Readonly<Record<Exclude<MatrixName, "gate">, T> & Partial<Record<"gate", T>>>;

/** The matrices of a layer where they are resident or streamed together. Without biases, which are resident tensors. */
export type MatrixTensors = ByMatrix<ResidentTensor>;

/** The matrices that a layer has, in the order in which they are used. */
export function matricesInOrder<T>(of: ByMatrix<T>): readonly (readonly [MatrixName, T])[] {
  return MATRIX_NAMES.flatMap((name) => {
    const matrix = of[name];
    return matrix === undefined ? [] : [[name, matrix] as const];
  });
}

/** CRC-32C of tensors by groups of bytes, from a file beside the model (checksum-file.ts). */
export interface ModelChecksums {
  /** Bytes of a tensor that one checksum is of, from its beginning; the last is of what is left. Not of experts: there it is of one expert's matrix. */
  readonly groupBytes: number;
  /** By name: u32, one a group; of a tensor of experts, one an expert. */
  readonly byTensor: ReadonlyMap<string, Uint32Array>;
}

/** Whether a file has checksums of its own: ours do, and llama.cpp's do not. */
export function carriesChecksums({ weights, experts }: Pick<ModelHeader, "weights" | "experts">): boolean {
  if (weights.layout === "matrices") return false;
  return experts.every((layer) => layer === null || layer.recordChecks !== null);
}

/** Something else for each matrix of a layer. */
export function mapMatrices<T, U>(of: ByMatrix<T>, change: (matrix: T) => U): ByMatrix<U> {
  return Object.fromEntries(matricesInOrder(of).map(([name, matrix]) => [name, change(matrix)])) as ByMatrix<U>;
}

/** The matrices of all layers, in the order in which they are used; none where weights are records. */
export function layerTensors({ matrices }: Pick<ModelHeader, "matrices">): ResidentTensor[] {
  return matrices.flatMap((layer) => matricesInOrder(layer).map(([, tensor]) => tensor));
}

/** Bytes of all experts of a model, without what lies between them. */
export function expertBytes({ experts }: Pick<ModelHeader, "experts">): number {
  return experts.reduce((sum, layer) => sum + (layer ? layer.count * bytesOfExpert(layer) : 0), 0);
}

/** Bytes of the matrices of one expert. */
export function bytesOfExpert({ matrices }: ExpertTensors): number {
  return matrices.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/**
 * The CRC-32C of one matrix of an expert: over its `sizeBytes` from `offset + expert * strideBytes` on. Null where no checksums lie beside the file,
 * and of a file of ours, which has them in {@link ExpertTensors.recordChecks}.
 */
export function expertCrc(
  { checksums }: Pick<ModelHeader, "checksums">,
  { tensor }: Pick<ExpertMatrix, "tensor">,
  expert: number,
): number | null {
  return checksums?.byTensor.get(tensor)?.[expert] ?? null;
}

/** Neurons that a checkpoint has and its model file has not. */
export interface Pruning {
  /** Of each layer of the checkpoint, before any was left out. */
  readonly neurons: readonly number[];
  /** SHA-256, hex, of the trace that chose. */
  readonly trace: string;
  /** Fingerprint of the model with all neurons: whose trace it was, and whose predictors can be pruned alike. */
  readonly from: string;
}

/** Everything the header says; checked, bounded, frozen. */
export interface ModelHeader {
  readonly geometry: ModelGeometry;
  readonly weights: FfnLayout;
  readonly tensors: ReadonlyMap<string, ResidentTensor>;
  /** By layer; empty where FFNs lie in matrices or columns, and in a mixture of experts. */
  readonly records: readonly RecordTensor[];
  /** By layer; empty but where FFNs lie in columns. */
  readonly columns: readonly ColumnTensors[];
  /** By layer; empty where FFNs lie in records, or in a mixture of experts: other matrices are resident tensors there. */
  readonly matrices: readonly MatrixTensors[];
  /** By layer, null for one without; empty but in a mixture of experts. */
  readonly experts: readonly (ExpertTensors | null)[];
  /** Each layer's permutation, i32 `[dFf]`; null where record i holds the checkpoint's neuron i. An engine needs it for nothing. */
  readonly placement:
    | readonly { readonly offset: number; readonly sizeBytes: number; readonly crc32c: number }[]
    | null;
  /** Neurons of the checkpoint that were left out; absent where none were. */
  readonly pruned?: Pruning;
  /** SHA-256, hex, of the moments by which losses were made up for; absent where they were not. */
  readonly calibration?: string;
  /**
   * SHA-256, hex, over the names, shapes and checksums of the *source* weights, and over the placement if there is one: the same for every dtype and
   * layout made from one checkpoint. Of a file of llama.cpp's: over its header, or those of its files, and its rotary divisors.
   */
  readonly fingerprint: string;
  /** The tokenizer as a Hugging Face `tokenizer.json` document, or null. */
  readonly tokenizerJson: string | null;
  /** What of a tokenizer {@link values} has; `ggml` is a vocabulary of llama.cpp's. */
  readonly tokenizerKind: "tokenizer.json" | "vocab+merges" | "ggml" | null;
  /** Of all files of a split model. */
  readonly fileBytes: number;
  /** Of a file of llama.cpp's with checksums beside it; absent where nothing can be held against them, and where the file carries its own. */
  readonly checksums?: ModelChecksums;
  /** Of the first file's tensors. */
  readonly dataOffset: number;
  /** Every GGUF key with its value. */
  readonly values: ReadonlyMap<string, GgufValue>;
  /** Plain metadata for display: every GGUF key with its value (arrays shortened). */
  readonly metadata: ReadonlyMap<string, unknown>;
}

/** An open model file: its header, and the source to read the rest from. */
export interface ModelFile {
  readonly header: ModelHeader;
  readonly source: ByteSource;
}

/**
 * The layout of a model's neuron records.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where the FFN lies in matrices: what needs single neurons asks here.
 */
export function recordLayout({ weights }: Pick<ModelHeader, "weights">): WeightLayout {
  if (weights.layout === "bundled" || weights.layout === "split") return weights;
  if (weights.layout === "experts") throw wholeExperts();
  if (weights.layout === "columns") throw onlyColumns();
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "neurons of a llama.cpp file lie in matrices, and cannot be read one by one; convert the model to records for this, or run it dense",
  );
}

/** The layout of a model by columns, or null of any other. */
export function columnsOf({ weights }: Pick<ModelHeader, "weights">): ColumnLayout | null {
  return weights.layout === "columns" ? weights : null;
}

function onlyColumns(): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "a file of columns has no records of neurons; convert the checkpoint with layout bundled for this, or run it dense or with a pruning plan",
  );
}

function wholeExperts(): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "a mixture of experts is read by whole experts, which its own routers choose, and not neuron by neuron; run it as it is",
  );
}
