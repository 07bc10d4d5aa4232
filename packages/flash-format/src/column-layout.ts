/**
 * Where things stand in the records of a file that is read by columns. Pure arithmetic; SPEC.md, "Columns".
 *
 *   input    [ gate column, of gated neurons | up column | int8: a scale of each | zeros to the stride ]     d_ff elements each
 *   neuron   [ down column | int8: its scale | zeros to the stride ]                                         d_model elements
 */
import {
  blockElements,
  COLUMN_STAGES,
  type ColumnLayout,
  type ColumnRecords,
  type ColumnStage,
  columnCounts,
  type ModelGeometry,
  paddedLength,
  type RecordDType,
  type RecordRole,
  rowBytes,
  UnsupportedError,
} from "@flashwick/core";
import { roundUp, SCALE_BYTES, STRIDE_UNIT_BYTES } from "./record-layout.js";

/** What of a geometry its columns depend on. */
export interface ColumnShape {
  readonly dModel: number;
  /** Of every layer. */
  readonly dFf: number;
  readonly gated: boolean;
}

/**
 * The columns of a geometry.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where layers differ in their width, or in whether they have a gate.
 */
export function columnShape({ dModel, layers }: Pick<ModelGeometry, "dModel" | "layers">): ColumnShape {
  const { dFf, gated } = layers[0]!.ffn;
  if (layers.every(({ ffn }) => ffn.dFf === dFf && ffn.gated === gated)) return { dModel, dFf, gated };
  const found = layers.map(({ ffn }) => `${ffn.dFf}${ffn.gated ? " gated" : ""}`);
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `layout columns: expected layers of one width, found ${[...new Set(found)].join(", ")} neurons; convert with layout bundled`,
    { details: { found } },
  );
}

/**
 * How the columns of a model are laid out.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a width that is no whole number of blocks.
 */
export function columnLayout(shape: ColumnShape, dtype: RecordDType): ColumnLayout {
  const { dModel, dFf, gated } = shape;
  const odd = [dModel, dFf].find((width) => width % blockElements(dtype) !== 0);
  if (odd !== undefined) throw noWholeBlocks(dtype, odd);
  const inputs = recordsOf(gated ? ["gate", "up"] : ["up"], dtype, dFf);
  const outputs = recordsOf(["down"], dtype, dModel);
  const layerBytes = dModel * inputs.strideBytes + dFf * outputs.strideBytes;
  return { layout: "columns", dtype, inputs, outputs, slotBytes: Math.ceil(layerBytes / dFf) };
}

function recordsOf(roles: readonly RecordRole[], dtype: RecordDType, width: number): ColumnRecords {
  const vectorBytes = rowBytes(dtype, paddedLength(width));
  const scaleBytes = dtype === "int8" ? SCALE_BYTES : 0;
  const scales = roles.length * vectorBytes;
  return {
    // Not to pages: a token uses most of the columns, so what shares a page is wanted, too.
    strideBytes: roundUp(roles.length * (vectorBytes + scaleBytes), STRIDE_UNIT_BYTES),
    width,
    parts: roles.map((role, i) => ({
      role,
      offsetBytes: i * vectorBytes,
      scaleOffsetBytes: dtype === "int8" ? scales + i * SCALE_BYTES : null,
    })),
  };
}

/** Bytes of all records of both kinds. */
export function columnBytes(
  geometry: Pick<ModelGeometry, "dModel" | "layers">,
  weights: Pick<ColumnLayout, ColumnStage>,
): number {
  return geometry.layers.reduce((sum, layer) => {
    const counts = columnCounts(geometry.dModel, layer);
    return COLUMN_STAGES.reduce((all, stage) => all + counts[stage] * weights[stage].strideBytes, sum);
  }, 0);
}

/** Records of both kinds, of all layers. */
export function columnCount({ dModel, layers }: Pick<ModelGeometry, "dModel" | "layers">): number {
  return layers.reduce((sum, { ffn }) => sum + dModel + ffn.dFf, 0);
}

function noWholeBlocks(dtype: RecordDType, found: number): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `columns of ${dtype}: expected d_model and d_ff that are multiples of ${blockElements(dtype)}, found ${found}; convert with --dtype int8 or f16`,
    { details: { dtype, found } },
  );
}
