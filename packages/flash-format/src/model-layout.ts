/**
 * Which tensors a model file has, of which type and shape, and where: pure, shared by writer and reader.
 *
 * File order: resident tensors (each int8 matrix followed by its scales), so that loading is one sequential read; then
 * every layer's record checksums, which stay resident as well, and where neurons were placed their permutations; then the records, layer by layer.
 */
import {
  defaultResidentDType,
  MAX_INT8_COLS,
  type ModelGeometry,
  type ResidentDType,
  UnsupportedError,
  type WeightLayout,
} from "@flashwick/core";
import { type ContainerPlan, type ContainerTensor, planContainer } from "./container.js";
import { BLANK_FINGERPRINT } from "./fingerprint.js";
import { encodeGeometry } from "./geometry-metadata.js";
import type { GgufValue } from "./gguf.js";
import type { ModelSpec, TensorShape } from "./model-writer.js";
import { checkPlacement, placementName } from "./placement.js";
import { recordShape, weightLayout } from "./record-layout.js";
import { GGML_TYPE_OF_DTYPE, isVectorName, residentTensorsOf, scaleName, storedDType } from "./resident-tensors.js";

/** A resident tensor among the file's tensors. */
export interface ResidentPlan {
  readonly shape: TensorShape;
  readonly dtype: ResidentDType;
  /** Index of the elements in the list of tensors, and of the scales (int8 only). */
  readonly tensor: number;
  readonly scale: number | null;
}

/** One layer's records among the file's tensors. */
export interface RecordPlan {
  readonly layer: number;
  /** Index of the records; when split, of the up halves. */
  readonly records: number;
  /** Index of the down halves; split only. */
  readonly downRecords: number | null;
  /** Index of the checksums. */
  readonly checksums: number;
}

export type TensorDeclaration = Pick<ContainerTensor, "name" | "type" | "shape">;

export interface ModelTensors {
  readonly tensors: readonly TensorDeclaration[];
  readonly residents: ReadonlyMap<string, ResidentPlan>;
  readonly records: readonly RecordPlan[];
  /** Index of each layer's permutation; null where records stand in the checkpoint's order. */
  readonly placements: readonly number[] | null;
}

export interface ModelPlan extends ModelTensors {
  readonly container: ContainerPlan;
  readonly weights: WeightLayout;
}

/** The name under which the writer counts a layer's records. */
export function recordsName(layer: number): string {
  return `blk.${layer}.ffn`;
}

/**
 * Every tensor of a model file, in file order.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for an int8 matrix that is wider than the kernels can multiply.
 */
export function modelTensors(
  geometry: ModelGeometry,
  weights: WeightLayout,
  residentDtype: ResidentDType,
  isPlaced: boolean,
): ModelTensors {
  const tensors: TensorDeclaration[] = [];
  const declare = (name: string, type: ContainerTensor["type"], ...shape: number[]) =>
    tensors.push({ name, type, shape }) - 1;

  const residents = new Map<string, ResidentPlan>();
  for (const shape of residentTensorsOf(geometry)) {
    const { name, rows, cols } = shape;
    const dtype = storedDType(shape, residentDtype);
    if (dtype === "int8" && cols > MAX_INT8_COLS) throw tooWideForInt8(name, cols);
    // GGUF shapes stand innermost first.
    const tensor = declare(name, GGML_TYPE_OF_DTYPE[dtype], ...(isVectorName(name) ? [cols] : [cols, rows]));
    const scale = dtype === "int8" ? declare(scaleName(name), "F32", rows) : null;
    residents.set(name, { shape, dtype, tensor, scale });
  }

  const dFfOf = geometry.layers.map(({ ffn }) => ffn.dFf);
  const checksums = dFfOf.map((dFf, layer) => declare(`blk.${layer}.ffn_crc32c`, "I32", dFf));
  const placements = isPlaced ? dFfOf.map((dFf, layer) => declare(placementName(layer), "I32", dFf)) : null;
  const declareRecords = (layer: number, what: string) =>
    declare(`blk.${layer}.${what}`, "I8", weights.strideBytes, dFfOf[layer]!);
  const records = dFfOf.map((_, layer) => {
    const split = weights.layout === "split";
    return {
      layer,
      records: declareRecords(layer, split ? "ffn_up_records" : "ffn_records"),
      downRecords: split ? declareRecords(layer, "ffn_down_records") : null,
      checksums: checksums[layer]!,
    };
  });
  return { tensors, residents, records, placements };
}

function tooWideForInt8(tensor: string, cols: number): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `tensor ${tensor}: expected at most ${MAX_INT8_COLS} columns of an int8 matrix, found ${cols}; convert with --dtype or --resident-dtype f16 or bf16`,
    { details: { tensor, cols, maxCols: MAX_INT8_COLS } },
  );
}

/**
 * Decides every byte position of the file of `spec`.
 *
 * @throws {InputError} `INPUT_INVALID` for a stride that cannot be, or a placement that is none. {UnsupportedError} `UNSUPPORTED_ARCHITECTURE`;
 *   `UNSUPPORTED_FEATURE` for an int8 matrix that is too wide.
 */
export function planModelFile(spec: ModelSpec): ModelPlan {
  const { geometry } = spec;
  const weights = weightLayout(recordShape(geometry), spec.dtype, spec.layout, spec.strideBytes);
  if (spec.placement) checkPlacement(spec.placement, geometry);
  const residentDtype = spec.residentDtype ?? defaultResidentDType(spec.dtype);
  const declared = modelTensors(geometry, weights, residentDtype, Boolean(spec.placement));
  const text = (value: string): GgufValue => ({ type: "string", value });
  const general = new Map<string, GgufValue>([
    ["general.architecture", text(geometry.architecture)],
    ["general.type", text("model")],
    ["general.name", text(spec.name)],
  ]);
  const own = new Map<string, GgufValue>([
    // First, so that the ids of special tokens are the geometry's.
    ...(spec.tokenizerMetadata ?? []),
    ["flashwick.fingerprint", text(BLANK_FINGERPRINT)],
    ...encodeWeightLayout(weights),
    ...encodeResidentDType(residentDtype, weights),
    ["flashwick.placement", text(spec.placement ? "table" : "identity")],
    ...encodeGeometry(geometry),
  ]);
  if (spec.tokenizerJson !== null) {
    own.set("flashwick.tokenizer.kind", text(spec.tokenizerKind ?? "tokenizer.json"));
    own.set("tokenizer.huggingface.json", text(spec.tokenizerJson));
  }
  return { ...declared, weights, container: planContainer("model", general, own, declared.tensors) };
}

/** Only where it is another one than the records'. */
function encodeResidentDType(residentDtype: ResidentDType, { dtype }: WeightLayout): [string, GgufValue][] {
  return residentDtype === dtype ? [] : [["flashwick.resident.dtype", { type: "string", value: residentDtype }]];
}

function encodeWeightLayout(weights: WeightLayout): [string, GgufValue][] {
  const text = (value: string): GgufValue => ({ type: "string", value });
  const offsets = (values: readonly number[]): GgufValue => ({
    type: "array",
    of: "u32",
    value: Uint32Array.from(values),
  });
  const metadata: [string, GgufValue][] = [
    ["flashwick.dtype", text(weights.dtype)],
    ["flashwick.record.layout", text(weights.layout)],
    ["flashwick.record.stride", { type: "u32", value: weights.strideBytes }],
    ["flashwick.record.parts", text(weights.parts.map(({ role }) => role).join(" "))],
    ["flashwick.record.offsets", offsets(weights.parts.map(({ offsetBytes }) => offsetBytes))],
  ];
  const scales = weights.parts.flatMap(({ scaleOffsetBytes }) => scaleOffsetBytes ?? []);
  if (scales.length > 0) metadata.push(["flashwick.record.scale_offsets", offsets(scales)]);
  return metadata;
}
