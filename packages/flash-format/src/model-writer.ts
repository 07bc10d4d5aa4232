/**
 * Writing a model file, streaming: the seam between conversion (which knows checkpoints) and the format (which knows bytes).
 */
import type { ColumnStage, ConvertDType, DType, ModelGeometry, RecordRole, ResidentDType } from "@flashwick/core";
import type { GgufValue } from "./gguf.js";
import type { ModelHeader } from "./model-file.js";
import type { QuantisationLoss, SquareSums } from "./quantisation-loss.js";

/** What is known before the first weight is read. */
export interface ModelSpec {
  readonly geometry: ModelGeometry;
  /** Of records, of neurons or experts. */
  readonly dtype: ConvertDType;
  /** Of a mixture, instead of `dtype`: by layer, of gate (of gated experts), up and down; none of a dense layer. */
  readonly expertDTypes?: readonly (readonly DType[])[] | null;
  /** Of resident matrices; one whose columns are no multiple of its blocks is f16. Default: that of the records, q8_0 beside q4. */
  readonly residentDtype?: ResidentDType | null;
  /** Of gates that stay in DRAM, a matrix a layer, so that records have none (docs/decisions/0039). Default null: records have them. */
  readonly gateDtype?: ResidentDType | null;
  /** `columns`: no records of neurons, but columns of two kinds (docs/decisions/0040). */
  readonly layout: "bundled" | "split" | "columns";
  /** `auto`: by the expected-pages rule of SPEC.md; else a multiple of 512 that holds a record. */
  readonly strideBytes: "auto" | number;
  readonly tokenizerJson: string | null;
  readonly tokenizerKind: "tokenizer.json" | "vocab+merges" | null;
  /** Instead of a document: a vocabulary of llama.cpp's, and its chat template, as `tokenizer.*` keys. */
  readonly tokenizerMetadata?: ReadonlyMap<string, GgufValue> | null;
  /** For `general.name`. */
  readonly name: string;
  /** By layer, at i: which neuron of the checkpoint record i holds. Default: record i holds neuron i. */
  readonly placement?: readonly Uint32Array[] | null;
  /**
   * Where neurons of the checkpoint are left out: then `geometry` counts those that stay, and `placement` says which
   * they are.
   */
  readonly pruned?: PruningSpec | null;
  /**
   * Fingerprint of the checkpoint, where weights come from a model file made of it: their checksums are not those of the
   * checkpoint's bytes. Default: made of the checksums.
   */
  readonly fingerprint?: string | null;
  /** Where losses are made up for. */
  readonly calibration?: CalibrationSpec | null;
}

/** What is known before the first weight is read of the moments that losses are made up for by. */
export interface CalibrationSpec {
  /** SHA-256, hex, of the file of moments. */
  readonly moments: string;
  /** Fingerprint of the model that they are of: the checkpoint must have it. */
  readonly momentsOf: string;
}

/** What is known before the first weight is read of neurons that are left out. */
export interface PruningSpec {
  /** Neurons of each layer of the checkpoint. */
  readonly neurons: readonly number[];
  /** SHA-256, hex, of the trace that chose. */
  readonly trace: string;
  /** Fingerprint of the model that the trace is of: the checkpoint must have it. Null: not known, and not compared. */
  readonly traceOf: string | null;
}

/** A tensor that the geometry asks for. Vectors have one row. */
export interface TensorShape {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
}

/** Neurons side by side, f32 `[n, dModel]` each. */
export interface NeuronRows {
  /** Of gated neurons whose gates are in their records. */
  readonly gate?: Float32Array | null;
  readonly up: Float32Array;
  /** Neuron i's column as row i. */
  readonly down: Float32Array;
  /** Where values are multiples of their blocks' scales already; records of q4 only. */
  readonly rounded?: RoundedBlocks | null;
}

/** Columns side by side, as rows: gate (of gated neurons) and up `[n, dFf]` of inputs, down `[n, dModel]` of neurons. */
export type ColumnRows = Readonly<Partial<Record<RecordRole, Float32Array | null>>>;

/** What is known of rows that were rounded before they are written. */
export interface RoundedBlocks {
  /** By part: f32 `[n, dModel / 32]`, values of f16. */
  readonly scales: Readonly<Partial<Record<RecordRole, Float32Array>>>;
  /** What rounding has lost, of all rows together. */
  readonly squares: SquareSums;
}

/** Writes a model file from front to back. */
export interface ModelWriter {
  /** Resident tensors of this geometry, in file order. `ffn` records are not among them. */
  readonly residentTensors: readonly TensorShape[];
  /** True if an interrupted earlier run already wrote this tensor (`name`) or layer's records (`blk.<l>.ffn`), verified. */
  isComplete(name: string): boolean;
  /** The next rows of a resident tensor, f32 `[n, cols]`, in order. @throws {FormatError} `CHECKPOINT_TENSOR_VALUE` naming the tensor, for NaN, Inf or overflow of the dtype. */
  writeRows(name: string, rows: Float32Array): Promise<void>;
  /** The next neurons of a layer, in the order of their records. */
  writeNeurons(layer: number, firstNeuron: number, rows: NeuronRows): Promise<void>;
  /** The next columns of one kind, of a layer by columns. @throws As {@link writeRows}. */
  writeColumns(layer: number, stage: ColumnStage, rows: ColumnRows): Promise<void>;
  /**
   * The next rows of a mixture's experts, f32 `[n, cols]`: expert after expert, of each gate (of gated ones), up and down. Rows of one call are of
   * one matrix. @throws As {@link writeRows}.
   */
  writeExpertRows(layer: number, rows: Float32Array): Promise<void>;
  /** The same where rows are at hand as the file has them. */
  writeExpertBytes(layer: number, bytes: Uint8Array): Promise<void>;
  /**
   * Marks a tensor, or a layer's records (`blk.<l>.ffn`), as whole.
   * @param sourceCrc32c CRC-32C of the checkpoint's own bytes of it (gate, up and down in this order; of a mixture expert after expert), for the
   *   fingerprint.
   */
  complete(name: string, sourceCrc32c: number): Promise<void>;
  /** What quantising has cost so far; null where nothing was quantised. */
  readonly loss: QuantisationLoss | null;
  /** Writes checksums and header, makes the file durable and visible. */
  finish(): Promise<ModelHeader>;
  /** Drops everything: after a failure. Does nothing after another end. */
  abandon(): Promise<void>;
  /**
   * Keeps the finished parts, for a later writer with the same plan and journal to go on from: after an abort. Without a journal, or
   * if no part is finished, drops everything. Does nothing after another end.
   */
  suspend(): Promise<void>;
}

/** What survives an interrupted run beside the unfinished file: text lines, in order. `node/file-sink.ts` has the one on disk. */
export interface WriteJournal {
  /** What was noted so far, oldest first. */
  entries(): Promise<readonly string[]>;
  /**
   * Notes one more thing that is done.
   *
   * @param line Without a line break.
   */
  append(line: string): Promise<void>;
  /** Forgets everything. */
  clear(): Promise<void>;
}

/** Options of `createModelWriter(sink, spec, options): Promise<ModelWriter>`. */
export interface ModelWriterOptions {
  /** Where progress is noted, so that a later run with the same plan goes on from there. Without it every run starts anew. */
  readonly journal?: WriteJournal;
  /**
   * Anything that changes when the checkpoint does (paths, sizes and times of its files, or their hashes): an unfinished
   * file is continued only if this and the spec are the same.
   */
  readonly sourceIdentity?: string;
}
