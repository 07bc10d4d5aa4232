/**
 * Where things stand in an expert's record. Pure arithmetic; SPEC.md, "Experts".
 *
 *     [ gate, of gated ones | up | down | zeros to a multiple of 4096 ]
 *
 * Each is a matrix row by row, as a resident tensor of its type is. Experts of a layer are equally large; layers may differ.
 */
import {
  blockElements,
  type ConvertDType,
  type DType,
  type ExpertLayout,
  type LayerGeometry,
  type ModelGeometry,
  type RecordRole,
  type ResidentDType,
  rowBytes,
  UnsupportedError,
} from "@flashwick/core";
import { planExpertSlot } from "./expert-slot.js";
import type { ExpertTensors } from "./model-file.js";
import { PAGE_BYTES, roundUp } from "./record-layout.js";

/** A record is read in one piece, and Node reads less than 2 GiB at once. The largest of Mixtral 8x22B, in f32, has 1.2 GB. */
export const MAX_EXPERT_BYTES = 2 ** 31 - PAGE_BYTES;

/** A matrix of each expert of a layer. */
export interface ExpertMatrixShape {
  readonly role: RecordRole;
  readonly rows: number;
  readonly cols: number;
}

/** The same in a record. */
export interface ExpertRecordPart extends ExpertMatrixShape {
  readonly dtype: DType;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** The record of each expert of a layer. */
export interface ExpertRecord {
  readonly parts: readonly ExpertRecordPart[];
  /** Bytes of a record, and from one to the next. */
  readonly strideBytes: number;
}

/** The records of a mixture by layer; null for a layer that is dense. */
export interface ExpertRecords {
  readonly layout: "experts";
  readonly byLayer: readonly (ExpertRecord | null)[];
}

/** The matrices of an expert in the order of its record. */
export function expertMatrices({ ffn: { dFf, gated } }: Pick<LayerGeometry, "ffn">, dModel: number) {
  const into = { rows: dFf, cols: dModel };
  const matrices: ExpertMatrixShape[] = [
    { role: "up", ...into },
    { role: "down", rows: dModel, cols: dFf },
  ];
  return gated ? [{ role: "gate" as const, ...into }, ...matrices] : matrices;
}

/**
 * @param dtypes Of the matrices, in their order; rows are whole blocks of them.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a record that could not be read in one piece.
 */
export function expertRecord(
  layer: Pick<LayerGeometry, "ffn">,
  dModel: number,
  dtypes: readonly DType[],
): ExpertRecord {
  let end = 0;
  const parts = expertMatrices(layer, dModel).map((matrix, i): ExpertRecordPart => {
    const dtype = dtypes[i]!;
    const sizeBytes = matrix.rows * rowBytes(dtype, matrix.cols);
    const offsetBytes = end;
    end += sizeBytes;
    return { ...matrix, dtype, offsetBytes, sizeBytes };
  });
  const strideBytes = roundUp(end, PAGE_BYTES);
  if (strideBytes <= MAX_EXPERT_BYTES) return { parts, strideBytes };
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `an expert has ${end} bytes, expected at most ${MAX_EXPERT_BYTES}; convert with a smaller --dtype`,
    { details: { sizeBytes: end, maxBytes: MAX_EXPERT_BYTES } },
  );
}

/**
 * The records of a mixture whose experts are all of one type.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for `int8`, which experts have not, for widths that are no whole number of blocks, and for experts that
 * are too large.
 */
export function expertRecords(geometry: ModelGeometry, dtype: ConvertDType): ExpertRecords {
  return expertRecordsOf(geometry, expertDTypesOf(geometry, expertDType(dtype)));
}

/** The same type of every matrix of every expert, by layer; none of a dense layer. */
export function expertDTypesOf({ layers, dModel }: ModelGeometry, dtype: DType): DType[][] {
  return layers.map((layer) => (layer.experts ? expertMatrices(layer, dModel).map(() => dtype) : []));
}

/**
 * The records of a mixture of any types.
 *
 * @param dtypes By layer, of the matrices in their order; none of a dense layer.
 * @throws As {@link expertRecords}.
 */
export function expertRecordsOf(
  { layers, dModel }: Pick<ModelGeometry, "layers" | "dModel">,
  dtypes: readonly (readonly DType[])[],
): ExpertRecords {
  const byLayer = layers.map((layer, i) => {
    if (!layer.experts) return null;
    for (const [k, { cols }] of expertMatrices(layer, dModel).entries()) {
      if (cols % blockElements(dtypes[i]![k]!) !== 0) throw noWholeBlocks(i, cols, dtypes[i]![k]!);
    }
    return expertRecord(layer, dModel, dtypes[i]!);
  });
  return { layout: "experts", byLayer };
}

/** What experts are stored as where conversion is asked for `dtype`. */
function expertDType(dtype: ConvertDType): ResidentDType {
  if (dtype === "q4") return "q4_0";
  if (dtype !== "int8") return dtype;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "experts of int8: expected f32, f16, bf16, q8_0 or q4; convert with --dtype q8_0, which is as small and has a scale for every 32 weights",
    { details: { dtype } },
  );
}

function noWholeBlocks(layer: number, cols: number, dtype: DType): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `layer ${layer}: experts of ${dtype}: expected widths that are multiples of ${blockElements(dtype)}, found ${cols}; convert with --dtype f16`,
    { details: { layer, dtype, cols } },
  );
}

/** The layout of located experts. */
export function expertLayout(experts: readonly (ExpertTensors | null)[]): ExpertLayout {
  const mixtures = experts.filter((layer) => layer !== null);
  const { dtype } = mixtures[0]!.matrices.find(({ role }) => role === "up")!;
  const slotBytes = Math.max(...mixtures.map((layer) => planExpertSlot(layer).sizeBytes));
  return { layout: "experts", dtype, slotBytes };
}

/** A layer's experts, of which the first record lies at `offset` of the file. */
export function expertTensors(
  { count, record: { parts, strideBytes } }: { readonly count: number; readonly record: ExpertRecord },
  tensor: string,
  offset: number,
  recordChecks: ExpertTensors["recordChecks"],
): ExpertTensors {
  const matrices = parts.map(({ offsetBytes, ...part }) => {
    return Object.freeze({ ...part, tensor, offset: offset + offsetBytes, strideBytes });
  });
  return Object.freeze({ count, matrices: Object.freeze(matrices), recordChecks: Object.freeze(recordChecks) });
}
