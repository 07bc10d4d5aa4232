/**
 * Which tensors a model file has, of which type and shape, and where: pure, shared by writer and reader.
 *
 * File order: resident tensors (each int8 matrix followed by its scales), so that loading is one sequential read; then
 * every layer's record checksums, which stay resident as well, and where neurons were placed their permutations; then the records, layer by layer. In a
 * mixture, records are those of experts, and dense layers have none. By columns, a layer has two kinds of records, those of its inputs first.
 */
import {
  assert,
  COLUMN_STAGES,
  type ColumnLayout,
  type ColumnStage,
  columnCounts,
  defaultResidentDType,
  hasExperts,
  isGated,
  isSparse,
  MAX_INT8_COLS,
  type ModelGeometry,
  type ResidentDType,
  UnsupportedError,
  type WeightLayout,
} from "@flashwick/core";
import { encodeCalibration } from "./calibration.js";
import { columnLayout, columnShape } from "./column-layout.js";
import {
  COLUMNS_VERSION,
  type ContainerPlan,
  type ContainerTensor,
  planContainer,
  RESIDENT_GATE_VERSION,
} from "./container.js";
import { type ExpertRecord, type ExpertRecords, expertRecords, expertRecordsOf } from "./expert-record.js";
import { BLANK_FINGERPRINT } from "./fingerprint.js";
import { encodeGeometry } from "./geometry-metadata.js";
import type { GgufValue } from "./gguf.js";
import type { ModelSpec, TensorShape } from "./model-writer.js";
import { checkPlacement, placementName } from "./placement.js";
import { encodePruning } from "./pruning.js";
import { recordShape, weightLayout } from "./record-layout.js";
import {
  GGML_TYPE_OF_DTYPE,
  isNeuronGate,
  isVectorName,
  type ResidentDTypes,
  residentTensorsOf,
  scaleName,
  storedDType,
} from "./resident-tensors.js";

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

/** The experts of one layer among the file's tensors. */
export interface ExpertPlan {
  readonly layer: number;
  readonly count: number;
  readonly record: ExpertRecord;
  /** Index of the records. */
  readonly records: number;
  /** Index of the checksums. */
  readonly checksums: number;
}

/** One kind of column of a layer among the file's tensors. */
export interface ColumnStagePlan {
  readonly count: number;
  /** Index of the records. */
  readonly records: number;
  /** Index of the checksums. */
  readonly checksums: number;
}

/** The records of one layer by columns among the file's tensors. */
export interface ColumnPlan extends Readonly<Record<ColumnStage, ColumnStagePlan>> {
  readonly layer: number;
}

/** How a file's records lie: of neurons, of columns, or of experts. */
export type FfnRecords = WeightLayout | ColumnLayout | ExpertRecords;

export type TensorDeclaration = Pick<ContainerTensor, "name" | "type" | "shape">;

export interface ModelTensors {
  readonly tensors: readonly TensorDeclaration[];
  readonly residents: ReadonlyMap<string, ResidentPlan>;
  /** None in a mixture, nor by columns. */
  readonly records: readonly RecordPlan[];
  /** None but by columns. */
  readonly columns: readonly ColumnPlan[];
  /** Of the layers that are mixtures. */
  readonly experts: readonly ExpertPlan[];
  /** Index of each layer's permutation; null where records stand in the checkpoint's order. */
  readonly placements: readonly number[] | null;
}

export interface ModelPlan extends ModelTensors {
  readonly container: ContainerPlan;
  readonly weights: FfnRecords;
}

/** Of a plan whose records are neurons. */
export function neuronLayout({ weights }: ModelPlan): WeightLayout {
  assert(weights.layout === "bundled" || weights.layout === "split", "the records are neurons");
  return weights;
}

/** Of a plan by columns. */
export function plannedColumns({ weights }: ModelPlan): ColumnLayout {
  assert(weights.layout === "columns", "the records are columns");
  return weights;
}

/** The name under which the writer counts a layer's records. */
export function recordsName(layer: number): string {
  return `blk.${layer}.ffn`;
}

/** The tensor of a layer's experts. */
export function expertRecordsName(layer: number): string {
  return `blk.${layer}.ffn_expert_records`;
}

/** The tensor of a layer's record checksums; by columns, of the neurons' records. */
export function checksumsName(layer: number): string {
  return `blk.${layer}.ffn_crc32c`;
}

/** The tensors of one kind of column. */
export function columnNames(
  layer: number,
  stage: ColumnStage,
): { readonly records: string; readonly checksums: string } {
  return stage === "inputs"
    ? { records: `blk.${layer}.ffn_input_records`, checksums: `blk.${layer}.ffn_input_crc32c` }
    : { records: `blk.${layer}.ffn_down_records`, checksums: checksumsName(layer) };
}

/**
 * Every tensor of a model file, in file order.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for an int8 matrix that is wider than the kernels can multiply.
 */
export function modelTensors(
  geometry: ModelGeometry,
  weights: FfnRecords,
  dtypes: ResidentDTypes,
  isPlaced: boolean,
): ModelTensors {
  const tensors: TensorDeclaration[] = [];
  const declare: Declare = (name, type, ...shape) => tensors.push({ name, type, shape }) - 1;
  const residents = declareResidents(geometry, dtypes, declare);
  const none = { records: [], columns: [], experts: [], placements: null };
  switch (weights.layout) {
    case "experts":
      return { tensors, residents, ...none, experts: declareExperts(geometry, weights, declare) };
    case "columns":
      return { tensors, residents, ...none, columns: declareColumns(geometry, weights, declare) };
    default:
      return { tensors, residents, ...none, ...declareNeurons(geometry, weights, isPlaced, declare) };
  }
}

/** Appends a tensor, its shape innermost first. @returns Its index. */
type Declare = (name: string, type: ContainerTensor["type"], ...shape: number[]) => number;

function declareResidents(geometry: ModelGeometry, dtypes: ResidentDTypes, declare: Declare) {
  const residents = new Map<string, ResidentPlan>();
  for (const shape of residentTensorsOf(geometry, dtypes.gate !== null)) {
    const { name, rows, cols } = shape;
    const dtype = storedDType(shape, isNeuronGate(name, dtypes) ? dtypes.gate! : dtypes.matrices);
    if (dtype === "int8" && cols > MAX_INT8_COLS) throw tooWideForInt8(name, cols);
    const tensor = declare(name, GGML_TYPE_OF_DTYPE[dtype], ...(isVectorName(name) ? [cols] : [cols, rows]));
    const scale = dtype === "int8" ? declare(scaleName(name), "F32", rows) : null;
    residents.set(name, { shape, dtype, tensor, scale });
  }
  return residents;
}

function declareNeurons(
  { layers }: ModelGeometry,
  { layout, strideBytes }: WeightLayout,
  isPlaced: boolean,
  declare: Declare,
): Pick<ModelTensors, "records" | "placements"> {
  const dFfOf = layers.map(({ ffn }) => ffn.dFf);
  const checksums = dFfOf.map((dFf, layer) => declare(checksumsName(layer), "I32", dFf));
  const placements = isPlaced ? dFfOf.map((dFf, layer) => declare(placementName(layer), "I32", dFf)) : null;
  const declareRecords = (layer: number, what: string) =>
    declare(`blk.${layer}.${what}`, "I8", strideBytes, dFfOf[layer]!);
  const records = dFfOf.map((_, layer) => {
    const split = layout === "split";
    return {
      layer,
      records: declareRecords(layer, split ? "ffn_up_records" : "ffn_records"),
      downRecords: split ? declareRecords(layer, "ffn_down_records") : null,
      checksums: checksums[layer]!,
    };
  });
  return { records, placements };
}

function declareColumns({ dModel, layers }: ModelGeometry, weights: ColumnLayout, declare: Declare): ColumnPlan[] {
  const byStage = <T>(of: (stage: ColumnStage) => T) => ({ inputs: of("inputs"), outputs: of("outputs") });
  const checksums = layers.map((shape, layer) => {
    const counts = columnCounts(dModel, shape);
    return byStage((stage) => declare(columnNames(layer, stage).checksums, "I32", counts[stage]));
  });
  return layers.map((shape, layer) => {
    const counts = columnCounts(dModel, shape);
    const stages = byStage((stage) => {
      const { strideBytes } = weights[stage];
      const records = declare(columnNames(layer, stage).records, "I8", strideBytes, counts[stage]);
      return { count: counts[stage], records, checksums: checksums[layer]![stage] };
    });
    return { layer, ...stages };
  });
}

function declareExperts({ layers }: ModelGeometry, { byLayer }: ExpertRecords, declare: Declare): ExpertPlan[] {
  const mixtures = layers.flatMap(({ experts }, layer) => {
    const record = byLayer[layer];
    return experts && record ? [{ layer, count: experts.count, record }] : [];
  });
  const checksums = mixtures.map(({ layer, count }) => declare(checksumsName(layer), "I32", count));
  return mixtures.map((plan, i) => {
    const { layer, count, record } = plan;
    const records = declare(expertRecordsName(layer), "I8", record.strideBytes, count);
    return { ...plan, records, checksums: checksums[i]! };
  });
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
 *   `UNSUPPORTED_FEATURE` for an int8 matrix that is too wide, for resident gates of neurons without one, or whose gates leave no zeros, and for what
 *   columns cannot be beside.
 */
export function planModelFile(spec: ModelSpec): ModelPlan {
  const { geometry } = spec;
  const weights = planRecords(spec);
  if (spec.placement) checkPlacement(spec.placement, geometry, spec.pruned?.neurons);
  const residentDtype = spec.residentDtype ?? defaultResidentDType(spec.dtype);
  const gate = spec.gateDtype ?? null;
  const declared = modelTensors(geometry, weights, { matrices: residentDtype, gate }, Boolean(spec.placement));
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
    ...encodeRecords(weights),
    ...encodeResidentDType(residentDtype, weights),
    ...(gate === null ? [] : [["flashwick.gate.dtype", text(gate)] as const]),
    ["flashwick.placement", text(spec.placement ? "table" : "identity")],
    ...encodePruning(spec.pruned ?? null),
    ...encodeCalibration(spec.calibration ?? null),
    ...encodeGeometry(geometry),
  ]);
  if (spec.tokenizerJson !== null) {
    own.set("flashwick.tokenizer.kind", text(spec.tokenizerKind ?? "tokenizer.json"));
    own.set("tokenizer.huggingface.json", text(spec.tokenizerJson));
  }
  const container = planContainer("model", general, own, declared.tensors, versionOf(weights, gate));
  return { ...declared, weights, container };
}

/** Files that older readers know keep their version. */
function versionOf({ layout }: FfnRecords, gate: ResidentDType | null): number | undefined {
  if (layout === "columns") return COLUMNS_VERSION;
  return gate === null ? undefined : RESIDENT_GATE_VERSION;
}

/** @throws {InputError}, {UnsupportedError} As {@link planModelFile}. */
function planRecords(spec: ModelSpec): FfnRecords {
  const { geometry, dtype, layout, strideBytes } = spec;
  const residentGate = (spec.gateDtype ?? null) !== null;
  if (residentGate) checkResidentGate(geometry);
  const shape = recordShape(geometry, residentGate);
  if (hasExperts(geometry)) {
    if (spec.placement) throw notOfExperts("an order of neurons", "convert without --placement");
    if (layout !== "bundled") throw notOfExperts(`layout ${layout}`, "convert without --layout");
    if (strideBytes !== "auto") throw notOfExperts(`a stride of ${strideBytes}`, "convert without --stride");
    return spec.expertDTypes ? expertRecordsOf(geometry, spec.expertDTypes) : expertRecords(geometry, dtype);
  }
  if (layout === "columns") checkBesideColumns(spec);
  if (dtype !== "q8_0") {
    return layout === "columns"
      ? columnLayout(columnShape(geometry), dtype)
      : weightLayout(shape, dtype, layout, strideBytes);
  }
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "records of q8_0: expected f32, f16, bf16, int8 or q4 of single neurons; convert with --dtype int8, or matrices alone with --resident-dtype q8_0",
    { details: { dtype } },
  );
}

/** @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where the gates of neurons would say nothing. */
function checkResidentGate(geometry: ModelGeometry): void {
  const fails = (expected: string, found: string) =>
    new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `resident gates: expected ${expected}, found ${found}; convert without --gate-first`,
      { details: { expected, found } },
    );
  if (hasExperts(geometry)) throw fails("single neurons", "a mixture of experts, which are read whole");
  if (!isGated(geometry)) throw fails("neurons with a gate", "neurons without one");
  if (isSparse(geometry)) return;
  throw fails("gates that leave zeros: relu, relu2 or fatrelu", geometry.layers[0]!.ffn.activation);
}

/** @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for what is of records of neurons alone. */
function checkBesideColumns({ strideBytes, gateDtype, placement, pruned, calibration }: ModelSpec): void {
  const others = {
    "--stride": strideBytes !== "auto",
    "--gate-first": (gateDtype ?? null) !== null,
    "--prune": Boolean(pruned),
    "--placement": Boolean(placement),
    "--calibration": Boolean(calibration),
  };
  const found = Object.entries(others).find(([, isAsked]) => isAsked)?.[0];
  if (found === undefined) return;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `layout columns has no records of neurons, which ${found} is about; convert without ${found}, or with layout bundled`,
    { details: { found } },
  );
}

function notOfExperts(what: string, advice: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `a mixture of experts, whose records are whole experts, cannot have ${what}; ${advice}`,
    { details: { found: what } },
  );
}

/** Only where it is another one than the records'; experts, which may be of many types, have it always. */
function encodeResidentDType(residentDtype: ResidentDType, weights: FfnRecords): [string, GgufValue][] {
  const isSame = weights.layout !== "experts" && residentDtype === weights.dtype;
  return isSame ? [] : [["flashwick.resident.dtype", { type: "string", value: residentDtype }]];
}

function encodeRecords(weights: FfnRecords): [string, GgufValue][] {
  switch (weights.layout) {
    case "experts":
      return encodeExpertRecords(weights);
    case "columns":
      return [
        ...encodeLayout(weights),
        ...COLUMN_STAGES.flatMap((stage) => encodeRecordParts(COLUMN_KEYS[stage], weights[stage])),
      ];
    default:
      return [...encodeLayout(weights), ...encodeRecordParts("flashwick.record", weights)];
  }
}

/** What keys begin with that say where the parts of a column's record stand. */
export const COLUMN_KEYS = { inputs: "flashwick.input", outputs: "flashwick.record" } as const satisfies Record<
  ColumnStage,
  string
>;

function encodeExpertRecords({ layout, byLayer }: ExpertRecords): [string, GgufValue][] {
  const types = byLayer.map((record) => (record?.parts ?? []).map(({ dtype }) => dtype).join(" "));
  return [
    ["flashwick.record.layout", { type: "string", value: layout }],
    ["flashwick.expert.dtypes", { type: "array", of: "string", value: types }],
  ];
}

function encodeLayout({ dtype, layout }: WeightLayout | ColumnLayout): [string, GgufValue][] {
  const text = (value: string): GgufValue => ({ type: "string", value });
  return [
    ["flashwick.dtype", text(dtype)],
    ["flashwick.record.layout", text(layout)],
  ];
}

function encodeRecordParts(
  key: string,
  { strideBytes, parts }: Pick<WeightLayout, "strideBytes" | "parts">,
): [string, GgufValue][] {
  const offsets = (values: readonly number[]): GgufValue => ({
    type: "array",
    of: "u32",
    value: Uint32Array.from(values),
  });
  const metadata: [string, GgufValue][] = [
    [`${key}.stride`, { type: "u32", value: strideBytes }],
    [`${key}.parts`, { type: "string", value: parts.map(({ role }) => role).join(" ") }],
    [`${key}.offsets`, offsets(parts.map(({ offsetBytes }) => offsetBytes))],
  ];
  const scales = parts.flatMap(({ scaleOffsetBytes }) => scaleOffsetBytes ?? []);
  if (scales.length > 0) metadata.push([`${key}.scale_offsets`, offsets(scales)]);
  return metadata;
}
