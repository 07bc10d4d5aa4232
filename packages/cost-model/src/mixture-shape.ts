/**
 * A mixture of experts as the cost model sees it, layer by layer: a file may mix types, some layers may be dense, and some experts wider than others.
 * What a cache holds by number, and a token chooses, are experts; all other weights are resident.
 */
import type { DType } from "@flashwick/core";
import { LONGEST_EXPERT_READ_BYTES } from "./stream-reads.js";

/** Weights of one type. */
export interface TypedBytes {
  readonly dtype: DType;
  readonly bytes: number;
}

/** The experts of one layer: all of one form. */
export interface ExpertsShape {
  readonly count: number;
  /** Of a token; at least 1, at most `count`. */
  readonly chosen: number;
  /** Neurons of one expert. */
  readonly dFf: number;
  /** What is computed with of one expert; the same type may come more than once. */
  readonly weights: readonly TypedBytes[];
  /** Bytes that lie together on flash, of one expert: its record with its padding, or in a GGUF file of llama.cpp its slices of three tensors. */
  readonly pieceBytes: readonly number[];
  /** One expert in DRAM. */
  readonly slotBytes: number;
  /** Whether there are checksums to hold experts against that have landed. Absent: true. */
  readonly isChecked?: boolean;
  readonly router: TypedBytes;
}

/** One layer of a mixture, as its price depends on it. */
export interface MixtureLayer {
  /** Null: the layer has one FFN, which is resident. */
  readonly experts: ExpertsShape | null;
  /** FFN weights of every token: the shared expert's, or those of a layer without experts. Empty where there are none. */
  readonly resident: readonly TypedBytes[];
}

/** A mixture of experts, as its price depends on it. */
export interface MixtureShape {
  readonly layers: readonly MixtureLayer[];
}

/** Bytes that one expert takes on flash, and that one miss reads. */
export function expertFlashBytes({ pieceBytes }: ExpertsShape): number {
  return pieceBytes.reduce((sum, bytes) => sum + bytes, 0);
}

/** Reads that bring one expert: its pieces, the long ones cut as the engine cuts them. */
export function readsOfExpert({ pieceBytes }: ExpertsShape): number {
  return pieceBytes.reduce((sum, bytes) => sum + Math.ceil(bytes / LONGEST_EXPERT_READ_BYTES), 0);
}

/** Bytes of weights of all types. */
export function bytesOf(weights: readonly TypedBytes[]): number {
  return weights.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** FFN weights that stay in DRAM, routers among them, bytes. */
export function residentFfnBytes({ layers }: MixtureShape): number {
  return layers.reduce((sum, { experts, resident }) => sum + bytesOf(resident) + (experts?.router.bytes ?? 0), 0);
}

/** Bytes of all experts as they lie on flash. */
export function expertsFlashBytes({ layers }: MixtureShape): number {
  return layers.reduce((sum, { experts }) => sum + (experts ? experts.count * expertFlashBytes(experts) : 0), 0);
}

/** Weights of all experts that a token computes with, in all layers, bytes. */
export function chosenBytes({ layers }: MixtureShape): number {
  return layers.reduce((sum, { experts }) => sum + (experts ? experts.chosen * bytesOf(experts.weights) : 0), 0);
}

/** Means over all experts of a model: what the fields of a `ModelShape` that speak of one neuron mean in a mixture. */
export function meanExpert({ layers }: MixtureShape): {
  readonly dFf: number;
  readonly recordBytes: number;
  readonly strideBytes: number;
  readonly readsPerNeuron: number;
} {
  const of = layers.flatMap(({ experts }) => experts ?? []);
  const total = (bytes: (experts: ExpertsShape) => number) =>
    of.reduce((sum, experts) => sum + experts.count * bytes(experts), 0);
  const count = total(() => 1);
  const pieces = total(({ pieceBytes }) => pieceBytes.length);
  return {
    dFf: Math.max(...of.map((experts) => experts.count)),
    recordBytes: total(({ weights }) => bytesOf(weights)) / count,
    strideBytes: total(expertFlashBytes) / pieces,
    readsPerNeuron: pieces / count,
  };
}
