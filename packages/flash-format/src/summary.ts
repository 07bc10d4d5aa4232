/** What a model file consists of, by kind: the figures of `flashwick inspect`. Pure. */
import { ffnBytes, neuronCount, type RecordDType } from "@flashwick/core";
import type { ModelHeader } from "./model-file.js";

export interface TensorSummary {
  readonly name: string;
  readonly dtype: RecordDType;
  readonly rows: number;
  readonly cols: number;
  readonly offset: number;
  /** With scales. */
  readonly sizeBytes: number;
}

export interface ModelFileSummary {
  readonly fileBytes: number;
  /** From the start to the first tensor. */
  readonly headerBytes: number;
  /** Tensors that stay in DRAM, with scales, without record checksums. */
  readonly residentBytes: number;
  /** Neuron records, with their padding. */
  readonly ffnBytes: number;
  /** Record checksums, resident as well. */
  readonly checksumBytes: number;
  /** Where records were placed in an order of their own: the permutations, which no engine reads. Else 0. */
  readonly placementBytes: number;
  /** Between tensors. */
  readonly paddingBytes: number;
  /** Stored matrix and vector elements, records included. */
  readonly parameters: number;
  readonly tensors: readonly TensorSummary[];
}

export function summariseModelFile(header: ModelHeader): ModelFileSummary {
  const { geometry, weights, fileBytes } = header;
  const tensors = Array.from(header.tensors.values(), ({ name, dtype, rows, cols, offset, sizeBytes, scales }) => {
    return { name, dtype, rows, cols, offset, sizeBytes: sizeBytes + (scales?.sizeBytes ?? 0) };
  });
  const headerBytes = header.dataOffset;
  const residentBytes = tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0);
  const recordBytes = ffnBytes(geometry, weights);
  const placementBytes = (header.placement ?? []).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const checksumBytes = 4 * neuronCount(geometry);
  const residentElements = tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  return {
    fileBytes,
    headerBytes,
    residentBytes,
    ffnBytes: recordBytes,
    checksumBytes,
    placementBytes,
    paddingBytes: fileBytes - headerBytes - residentBytes - recordBytes - checksumBytes - placementBytes,
    parameters: residentElements + weights.parts.length * neuronCount(geometry) * geometry.dModel,
    tensors,
  };
}
