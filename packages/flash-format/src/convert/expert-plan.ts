/** What conversion will read of a mixture's experts. Pure, as conversion-plan.ts. */
import { blockElements, type ModelGeometry, type RecordRole, rowBytes, UnsupportedError } from "@flashwick/core";
import { type ExpertMatrixShape, expertMatrices } from "../expert-record.js";
import { recordsName } from "../model-layout.js";
import { assertReadable, type CheckpointTensor, type SourceDType } from "./checkpoint-tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { ExpertForm, ExpertSlice } from "./families/family.js";
import { findStored } from "./find-tensor.js";

/** Matrices of one expert in one stored tensor. */
export interface PlannedSlice {
  readonly tensor: CheckpointTensor;
  /** Of a tensor that holds all experts: which. */
  readonly expert: number | null;
  /** Absolute file offset of the slice. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** As stored. */
  readonly rows: number;
  readonly cols: number;
  /** `paired-mxfp4`: paired-mxfp4.ts. */
  readonly dtype: SourceDType | "paired-mxfp4";
  readonly scales: { readonly tensor: CheckpointTensor; readonly offset: number; readonly sizeBytes: number } | null;
  readonly roles: readonly RecordRole[];
  readonly transposed: boolean;
}

/** The experts of a layer. */
export interface PlannedExperts {
  /** `blk.<layer>.ffn` */
  readonly name: string;
  readonly layer: number;
  /** Of every expert, in the order of a record. */
  readonly matrices: readonly ExpertMatrixShape[];
  /** By expert. */
  readonly slices: readonly (readonly PlannedSlice[])[];
  readonly sizeBytes: number;
}

/**
 * @param forms The first of which there is a tensor is taken.
 * @throws As `planConversion`.
 */
export function planExperts(
  { layers, dModel }: ModelGeometry,
  index: number,
  forms: readonly ExpertForm[],
  weights: CheckpointWeights,
): PlannedExperts {
  const layer = layers[index]!;
  const isThere = (form: ExpertForm) => form(0)[0]!.source.names.some((name) => weights.tensors.has(name));
  const form = forms.find(isThere) ?? forms[0]!;
  const slices = Array.from({ length: layer.experts!.count }, (_, expert) => {
    return form(expert).map((slice) => planSlice(slice, weights));
  });
  const sizeBytes = slices.flat().reduce((sum, slice) => sum + slice.sizeBytes + (slice.scales?.sizeBytes ?? 0), 0);
  return { name: recordsName(index), layer: index, matrices: expertMatrices(layer, dModel), slices, sizeBytes };
}

function planSlice({ source, expert, roles, transposed, scales }: ExpertSlice, weights: CheckpointWeights) {
  const tensor = findStored(source, weights);
  const [rows, cols] = storedShape(source.shape, expert !== null, scales !== null);
  const stored = scales === null ? elements(tensor, rows, cols) : blocks(tensor, rows, cols);
  const at = expert ?? 0;
  const slice: PlannedSlice = {
    ...{ tensor, expert, rows, cols, roles, transposed, ...stored },
    offset: tensor.offset + at * stored.sizeBytes,
    scales: null,
  };
  if (scales === null) return slice;
  const scaleTensor = findStored(scales, weights);
  requireBytes(scaleTensor);
  const sizeBytes = (rows * cols) / blockElements("mxfp4");
  return { ...slice, scales: { tensor: scaleTensor, offset: scaleTensor.offset + at * sizeBytes, sizeBytes } };
}

/** Of one expert's slice. */
function storedShape(shape: readonly number[], isOfAll: boolean, isBlocks: boolean): [rows: number, cols: number] {
  const [rows, cols] = isOfAll ? shape.slice(1) : shape;
  return [rows!, isBlocks ? cols! * blockElements("mxfp4") : cols!];
}

function elements(tensor: CheckpointTensor, rows: number, cols: number) {
  assertReadable(tensor);
  return { dtype: tensor.dtype, sizeBytes: rows * rowBytes(tensor.dtype, cols) };
}

function blocks(tensor: CheckpointTensor, rows: number, cols: number) {
  requireBytes(tensor);
  return { dtype: "paired-mxfp4" as const, sizeBytes: (rows * cols) / 2 };
}

/** @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where blocks and scales are no bytes. */
function requireBytes({ source, name, storedDType, contiguous }: CheckpointTensor): void {
  if (storedDType === "U8" && contiguous) return;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${source.name}: tensor ${name}: expected bytes (U8) of MXFP4, found ${storedDType}; convert another checkpoint`,
    { details: { file: source.name, tensor: name, dtype: storedDType } },
  );
}
