/**
 * A checked container as a model header. Pure: everything here follows from the header's bytes.
 *
 * Invariant: in what is returned, every tensor that the geometry asks for is there, with the type and shape that it asks
 * for, inside the file and apart from all others (container.ts).
 */
import {
  blockElements,
  COLUMN_STAGES,
  type ColumnLayout,
  type ColumnRecords,
  type DType,
  hasExperts,
  isDType,
  isGated,
  type ModelGeometry,
  RECORD_DTYPES,
  RESIDENT_DTYPES,
  type ResidentDType,
  rowBytes,
  type WeightLayout,
} from "@flashwick/core";
import { decodeCalibration } from "./calibration.js";
import { columnLayout, columnShape } from "./column-layout.js";
import {
  type CheckedTensor,
  COLUMNS_VERSION,
  type Container,
  RESIDENT_GATE_VERSION,
  requireTensor,
} from "./container.js";
import {
  type ExpertRecords,
  expertLayout,
  expertMatrices,
  expertRecordsOf,
  expertTensors,
  MAX_EXPERT_BYTES,
} from "./expert-record.js";
import { isFingerprint } from "./fingerprint.js";
import { decodeGeometry } from "./geometry-metadata.js";
import type { GgufArray, GgufValue } from "./gguf.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import type { ColumnTensors, ModelHeader, RecordTensor, ResidentTensor } from "./model-file.js";
import {
  COLUMN_KEYS,
  type ColumnPlan,
  expertRecordsName,
  type FfnRecords,
  type ModelTensors,
  modelTensors,
} from "./model-layout.js";
import { decodePruning } from "./pruning.js";
import { isStride, recordBytes, recordShape, STRIDE_UNIT_BYTES, weightLayout } from "./record-layout.js";

/** A stride beyond this could not be read in one piece. */
const MAX_STRIDE_BYTES = 2 ** 28;
const KEY_EXPERT_DTYPES = "flashwick.expert.dtypes";
const KEY_GATE_DTYPE = "flashwick.gate.dtype";
/** What of an array, and of a text, is shown in {@link ModelHeader.metadata}. */
const SHOWN_ELEMENTS = 8;
const SHOWN_CHARACTERS = 256;

/** @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`. {UnsupportedError} `UNSUPPORTED_ARCHITECTURE`, `UNSUPPORTED_FEATURE`. */
export function decodeModelHeader(container: Container): ModelHeader {
  const { metadata } = container;
  const geometry = decodeGeometry(metadata);
  const gate = decodeGateDType(metadata, geometry);
  const weights = decodeRecords(metadata, geometry, gate !== null);
  const residentDtype = decodeResidentDType(metadata, weights);
  const hasNeurons = weights.layout === "bundled" || weights.layout === "split";
  const placements = hasNeurons ? (["identity", "table"] as const) : (["identity"] as const);
  const isPlaced = metadata.oneOf<"identity" | "table">("flashwick.placement", placements) === "table";
  const fingerprint = metadata.string("flashwick.fingerprint");
  if (!isFingerprint(fingerprint)) {
    throw metadata.invalid("flashwick.fingerprint", "64 hex digits", JSON.stringify(fingerprint.slice(0, 80)));
  }
  const dtypes = { matrices: residentDtype, gate };
  const located = locateTensors(container, geometry, modelTensors(geometry, weights, dtypes, isPlaced));
  const pruned = decodePruning(metadata, geometry, isPlaced);
  const calibration = decodeCalibration(metadata);
  return Object.freeze({
    geometry: Object.freeze(geometry),
    weights: Object.freeze(weights.layout === "experts" ? expertLayout(located.experts) : weights),
    ...located,
    ...(pruned && { pruned }),
    ...(calibration && { calibration }),
    fingerprint,
    ...decodeTokenizer(metadata),
    fileBytes: container.fileBytes,
    dataOffset: container.dataOffset,
    values: container.values,
    metadata: displayMetadata(container.values),
  });
}

function decodeTokenizer(metadata: GgufMetadata): Pick<ModelHeader, "tokenizerJson" | "tokenizerKind"> {
  const tokenizerJson = metadata.optionalString("tokenizer.huggingface.json");
  if (tokenizerJson === null) {
    return { tokenizerJson, tokenizerKind: metadata.has("tokenizer.ggml.model") ? "ggml" : null };
  }
  const kinds = ["tokenizer.json", "vocab+merges"] as const;
  return { tokenizerJson, tokenizerKind: metadata.oneOf("flashwick.tokenizer.kind", kinds) };
}

/** @throws {FormatError} `FORMAT_INVALID`, `FORMAT_MISSING` beside q4, which is no type of matrices, and beside experts. */
function decodeResidentDType(metadata: GgufMetadata, weights: FfnRecords): ResidentDType {
  const key = "flashwick.resident.dtype";
  const recordDType = weights.layout === "experts" || weights.dtype === "q4" ? null : weights.dtype;
  return metadata.has(key) || recordDType === null ? metadata.oneOf(key, RESIDENT_DTYPES) : recordDType;
}

/** Of gates that are resident, which version 3 is for; null where records have them. @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`. */
function decodeGateDType(metadata: GgufMetadata, geometry: ModelGeometry): ResidentDType | null {
  if (versionOf(metadata) !== RESIDENT_GATE_VERSION) return null;
  const dtype = metadata.oneOf(KEY_GATE_DTYPE, RESIDENT_DTYPES);
  if (isGated(geometry) && !hasExperts(geometry)) return dtype;
  throw metadata.invalid(KEY_GATE_DTYPE, "single neurons with a gate", "a composition without them");
}

function versionOf(metadata: GgufMetadata): number {
  return metadata.integer("flashwick.format.version", 0, 2 ** 32 - 1);
}

/** @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`, `FORMAT_LIMIT`. {UnsupportedError} `UNSUPPORTED_FEATURE`. */
function decodeRecords(metadata: GgufMetadata, geometry: ModelGeometry, residentGate: boolean): FfnRecords {
  if (versionOf(metadata) === COLUMNS_VERSION) return decodeColumns(metadata, geometry);
  if (hasExperts(geometry)) return decodeExpertRecords(metadata, geometry);
  return decodeWeightLayout(metadata, geometry, residentGate);
}

/** What version 4 is for. Every number follows from geometry and type, and must be what it follows to be. */
function decodeColumns(metadata: GgufMetadata, geometry: ModelGeometry): ColumnLayout {
  metadata.oneOf("flashwick.record.layout", ["columns"]);
  const dtype = metadata.oneOf("flashwick.dtype", RECORD_DTYPES);
  if (hasExperts(geometry)) throw metadata.invalid("flashwick.record.layout", "single neurons", "experts");
  const shape = columnShape(geometry);
  const odd = [shape.dModel, shape.dFf].find((width) => width % blockElements(dtype) !== 0);
  if (odd !== undefined) {
    throw metadata.invalid("flashwick.dtype", `a type whose blocks make up columns of ${odd}`, dtype);
  }
  const weights = columnLayout(shape, dtype);
  for (const stage of COLUMN_STAGES) {
    const { strideBytes } = weights[stage];
    const key = COLUMN_KEYS[stage];
    const found = metadata.integer(`${key}.stride`, STRIDE_UNIT_BYTES, MAX_STRIDE_BYTES);
    if (found !== strideBytes) throw metadata.invalid(`${key}.stride`, `${strideBytes}`, `${found}`);
    expectParts(metadata, key, weights[stage]);
  }
  return weights;
}

/** @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`, `FORMAT_LIMIT`. */
function decodeExpertRecords(metadata: GgufMetadata, geometry: ModelGeometry): ExpertRecords {
  metadata.oneOf("flashwick.record.layout", ["experts"]);
  recordShape(geometry);
  const { length } = geometry.layers;
  const texts = metadata.strings(KEY_EXPERT_DTYPES, length);
  if (texts.length !== length) throw metadata.invalid(KEY_EXPERT_DTYPES, `${length} elements`, `${texts.length}`);
  const dtypes = texts.map((text, index) => decodeExpertDTypes(metadata, geometry, text, index));
  return expertRecordsOf(geometry, dtypes);
}

/** Of layer `index`. */
function decodeExpertDTypes(
  metadata: GgufMetadata,
  { layers, dModel }: ModelGeometry,
  text: string,
  index: number,
): DType[] {
  const layer = layers[index]!;
  const matrices = layer.experts ? expertMatrices(layer, dModel) : [];
  const found = text === "" ? [] : text.split(" ");
  const fits = found.filter(
    (dtype, i) => isExpertDType(dtype) && matrices[i] && matrices[i].cols % blockElements(dtype) === 0,
  );
  if (found.length === matrices.length && fits.length === found.length) {
    const dtypes = fits as DType[];
    const sizeBytes = matrices.reduce((sum, { rows, cols }, i) => sum + rows * rowBytes(dtypes[i]!, cols), 0);
    if (sizeBytes <= MAX_EXPERT_BYTES) return dtypes;
    throw metadata.invalid(KEY_EXPERT_DTYPES, `experts of at most ${MAX_EXPERT_BYTES} bytes`, `${sizeBytes}`);
  }
  const expected = matrices.map(({ role, cols }) => `a type for rows of ${cols} (${role})`).join(", ") || "none";
  throw metadata.invalid(KEY_EXPERT_DTYPES, `${expected} of layer ${index}`, JSON.stringify(text.slice(0, 80)));
}

/** Types of tensors without scales beside them. */
function isExpertDType(value: string): value is DType {
  return isDType(value) && value !== "q4" && value !== "int8";
}

function decodeWeightLayout(metadata: GgufMetadata, geometry: ModelGeometry, residentGate: boolean): WeightLayout {
  const dtype = metadata.oneOf("flashwick.dtype", RECORD_DTYPES);
  const layout = metadata.oneOf<WeightLayout["layout"]>("flashwick.record.layout", ["bundled", "split"]);
  const strideBytes = metadata.integer("flashwick.record.stride", STRIDE_UNIT_BYTES, MAX_STRIDE_BYTES);
  const shape = recordShape(geometry, residentGate);
  if (shape.dModel % blockElements(dtype) !== 0) {
    throw metadata.invalid("flashwick.dtype", `a type whose blocks make up rows of ${shape.dModel}`, dtype);
  }
  const leastBytes = recordBytes(shape, dtype, layout);
  if (!isStride(strideBytes, leastBytes)) {
    const expected = `a multiple of ${STRIDE_UNIT_BYTES} that holds ${leastBytes} bytes`;
    throw metadata.invalid("flashwick.record.stride", expected, `${strideBytes}`);
  }
  const weights = weightLayout(shape, dtype, layout, strideBytes);
  expectParts(metadata, "flashwick.record", weights);
  return weights;
}

/** @param key What the keys of these records begin with. */
function expectParts(metadata: GgufMetadata, key: string, { parts }: Pick<ColumnRecords, "parts">): void {
  metadata.oneOf(`${key}.parts`, [parts.map(({ role }) => role).join(" ")]);
  expectIntegers(
    metadata,
    `${key}.offsets`,
    parts.map(({ offsetBytes }) => offsetBytes),
  );
  const scales = parts.flatMap(({ scaleOffsetBytes }) => scaleOffsetBytes ?? []);
  if (scales.length > 0) expectIntegers(metadata, `${key}.scale_offsets`, scales);
}

function expectIntegers(metadata: GgufMetadata, key: string, expected: readonly number[]): void {
  const found = metadata.array(key, "u32", expected.length);
  if (!expected.every((value, i) => found[i] === value))
    throw metadata.invalid(key, expected.join(", "), found.join(", "));
}

function locateTensors(
  container: Container,
  { layers }: ModelGeometry,
  wanted: ModelTensors,
): Pick<ModelHeader, "tensors" | "records" | "columns" | "matrices" | "experts" | "placement"> {
  const found = wanted.tensors.map((declaration) => requireTensor(container, declaration));
  const tensors = new Map<string, ResidentTensor>();
  for (const [name, { shape, dtype, tensor, scale }] of wanted.residents) {
    const { offset, sizeBytes, crc32c } = found[tensor]!;
    const scales = scale === null ? null : pick(found[scale]!);
    tensors.set(name, Object.freeze({ ...shape, dtype, offset, sizeBytes, crc32c, scales }));
  }
  const records = wanted.records.map(({ layer, records, downRecords, checksums }): RecordTensor => {
    const { offset: crcOffset, crc32c: crcOfCrcs } = found[checksums]!;
    const downOffset = downRecords === null ? null : found[downRecords]!.offset;
    return Object.freeze({ layer, offset: found[records]!.offset, downOffset, crcOffset, crcOfCrcs });
  });
  const columns = wanted.columns.map((plan) => locateColumns(plan, found));
  const placement = wanted.placements && Object.freeze(wanted.placements.map((tensor) => pick(found[tensor]!)));
  const mixtures = wanted.experts.map((plan) => {
    const { offset: crcOffset, crc32c: crcOfCrcs } = found[plan.checksums]!;
    const { offset } = found[plan.records]!;
    return [plan.layer, expertTensors(plan, expertRecordsName(plan.layer), offset, { crcOffset, crcOfCrcs })] as const;
  });
  const byLayer = new Map(mixtures);
  const experts = mixtures.length === 0 ? [] : layers.map((_, layer) => byLayer.get(layer) ?? null);
  return {
    ...{ tensors, records: Object.freeze(records), columns: Object.freeze(columns), matrices: [] },
    ...{ experts: Object.freeze(experts), placement },
  };
}

function locateColumns(plan: ColumnPlan, found: readonly CheckedTensor[]): ColumnTensors {
  const stages = COLUMN_STAGES.map((stage) => {
    const { records, checksums } = plan[stage];
    const { offset: crcOffset, crc32c: crcOfCrcs } = found[checksums]!;
    return [stage, Object.freeze({ offset: found[records]!.offset, crcOffset, crcOfCrcs })] as const;
  });
  return Object.freeze(Object.fromEntries(stages)) as ColumnTensors;
}

function pick(tensor: CheckedTensor): { offset: number; sizeBytes: number; crc32c: number } {
  return Object.freeze({ offset: tensor.offset, sizeBytes: tensor.sizeBytes, crc32c: tensor.crc32c });
}

/** Metadata for people and JSON: big integers as numbers or text, long arrays and texts shortened. */
export function displayMetadata(values: ReadonlyMap<string, GgufValue>): ReadonlyMap<string, unknown> {
  return new Map(Array.from(values, ([key, value]) => [key, displayValue(value)]));
}

function displayValue(value: GgufValue): unknown {
  switch (value.type) {
    case "array":
      return displayArray(value);
    case "u64":
    case "i64":
      return displayBigint(value.value);
    case "string":
      return displayText(value.value);
    default:
      return value.value;
  }
}

function displayArray(array: GgufArray): unknown[] {
  const shown: unknown[] = Array.from(array.value.slice(0, SHOWN_ELEMENTS), (element: unknown) => {
    if (typeof element === "bigint") return displayBigint(element);
    if (typeof element === "string") return displayText(element);
    return typeof element === "object" ? displayArray(element as GgufArray) : element;
  });
  const more = array.value.length - shown.length;
  if (more > 0) shown.push(`… ${more} more`);
  return shown;
}

function displayBigint(value: bigint): number | string {
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

function displayText(text: string): string {
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, 64)}… (${text.length} characters)`;
}
