/** What a model file consists of, by kind: the figures of `flashwick inspect`. Pure. */
import { type DType, ffnBytes, neuronCount } from "@flashwick/core";
import { columnBytes, columnCount } from "./column-layout.js";
import { type ExpertTensors, expertBytes, layerTensors, type ModelHeader, type ResidentTensor } from "./model-file.js";

/** One tensor of a file, for people. */
export interface TensorSummary {
  readonly name: string;
  readonly dtype: DType;
  readonly rows: number;
  readonly cols: number;
  readonly offset: number;
  /** With scales. */
  readonly sizeBytes: number;
}

/** Sizes of a model file by kind, and its tensors. */
export interface ModelFileSummary {
  readonly fileBytes: number;
  /** From the start to the first tensor. */
  readonly headerBytes: number;
  /** Tensors that stay in DRAM, with scales, without record checksums. */
  readonly residentBytes: number;
  /** Records of neurons or columns, with their padding; or the matrices of all layers; or experts, without what lies between them. */
  readonly ffnBytes: number;
  /** Record checksums, resident as well; 0 where there are none. */
  readonly checksumBytes: number;
  /** Where records were placed in an order of their own: the permutations, which no engine reads. Else 0. */
  readonly placementBytes: number;
  /** Between tensors; of a split model with the headers of all files but the first. */
  readonly paddingBytes: number;
  /** Stored matrix and vector elements, records included. */
  readonly parameters: number;
  readonly tensors: readonly TensorSummary[];
}

/** Sizes by kind and the list of tensors, from the header alone. */
export function summariseModelFile(header: ModelHeader): ModelFileSummary {
  const { fileBytes } = header;
  const residents = Array.from(header.tensors.values(), summariseTensor);
  const matrices = layerTensors(header).map(summariseTensor);
  const headerBytes = header.dataOffset;
  const bytesOf = (tensors: readonly TensorSummary[]) => tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const elementsOf = (tensors: readonly TensorSummary[]) =>
    tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  const residentBytes = bytesOf(residents);
  const records = recordSizes(header);
  const recordBytes = records?.sizeBytes ?? bytesOf(matrices) + expertBytes(header);
  const placementBytes = (header.placement ?? []).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const checksumBytes = 4 * (records?.count ?? checkedExperts(header));
  const recordElements = records?.elements ?? expertElements(header);
  return {
    fileBytes,
    headerBytes,
    residentBytes,
    ffnBytes: recordBytes,
    checksumBytes,
    placementBytes,
    paddingBytes: fileBytes - headerBytes - residentBytes - recordBytes - checksumBytes - placementBytes,
    parameters: elementsOf([...residents, ...matrices]) + recordElements,
    tensors: [...residents, ...matrices],
  };
}

/** Of neurons or columns; null where there are none. */
function recordSizes({ geometry, weights }: ModelHeader) {
  const neurons = neuronCount(geometry);
  switch (weights.layout) {
    case "bundled":
    case "split": {
      const elements = weights.parts.length * neurons * geometry.dModel;
      return { sizeBytes: ffnBytes(geometry, weights), count: neurons, elements };
    }
    case "columns": {
      const elements = (weights.inputs.parts.length + 1) * neurons * geometry.dModel;
      return { sizeBytes: columnBytes(geometry, weights), count: columnCount(geometry), elements };
    }
    default:
      return null;
  }
}

/** Experts whose records have checksums in the file. */
function checkedExperts({ experts }: ModelHeader): number {
  return experts.reduce((sum, layer) => sum + (layer?.recordChecks ? layer.count : 0), 0);
}

function expertElements({ experts }: ModelHeader): number {
  const ofOne = ({ matrices }: ExpertTensors) => matrices.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  return experts.reduce((sum, layer) => sum + (layer ? layer.count * ofOne(layer) : 0), 0);
}

function summariseTensor({ name, dtype, rows, cols, offset, sizeBytes, scales }: ResidentTensor): TensorSummary {
  return { name, dtype, rows, cols, offset, sizeBytes: sizeBytes + (scales?.sizeBytes ?? 0) };
}
