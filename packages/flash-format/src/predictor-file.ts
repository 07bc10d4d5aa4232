/**
 * The predictor's sidecar file: a container (container.ts) of kind "predictor", with two matrices a layer and the
 * fingerprint of the model that it belongs to. SPEC.md, "Predictor files".
 */
import {
  assert,
  type ByteSink,
  type ByteSource,
  findSparsityFault,
  type Predictor,
  type PredictorLayer,
  type PredictorLayerShape,
  type PredictorMatrix,
  type PredictorMatrixShape,
  type PredictorQuality,
  type PredictorSource,
  type SparsityStatistics,
  showValue,
} from "@flashwick/core";
import { readChecked } from "./checked-read.js";
import {
  type CheckedTensor,
  type Container,
  type ContainerTensor,
  encodeContainerHeader,
  planContainer,
  readContainer,
  requireTensor,
  tensorError,
} from "./container.js";
import { crc32c } from "./crc32c.js";
import { isFingerprint } from "./fingerprint.js";
import type { GgufValue } from "./gguf.js";
import { displayMetadata } from "./model-header.js";
import { GGML_TYPE_OF_DTYPE, scaleName } from "./resident-tensors.js";

/** Where a model's predictor is looked for: `dir/opt-demo.gguf` -> `dir/opt-demo.predictor.gguf`. For paths, addresses and names alike. */
export function sidecarPath(modelPath: string): string {
  return `${modelPath.replace(/\.gguf$/, "")}.predictor.gguf`;
}

const MAX_LAYERS = 4096;
const MAX_WIDTH = 2 ** 20;

/** Per-layer figures, each an f64 array of the metadata, in layer order. */
const FIGURES = ["threshold", "trueActiveShare", "namedShare", "recall", "precision", "missedMass"] as const;
const KEY_OF_FIGURE: Readonly<Record<(typeof FIGURES)[number], string>> = {
  threshold: "flashwick.predictor.threshold",
  trueActiveShare: "flashwick.predictor.true_active_share",
  namedShare: "flashwick.predictor.named_share",
  recall: "flashwick.predictor.recall",
  precision: "flashwick.predictor.precision",
  missedMass: "flashwick.predictor.missed_mass",
};
const KEY_FINGERPRINT = "flashwick.predictor.model_fingerprint";
const KEY_LAYERS = "flashwick.predictor.block_count";
const KEY_D_MODEL = "flashwick.predictor.embedding_length";
const KEY_D_FF = "flashwick.predictor.feed_forward_length";
/** Only where layers differ. */
const KEY_D_FF_BY_LAYER = "flashwick.predictor.feed_forward_lengths";
const KEY_RANK = "flashwick.predictor.rank";
const KEY_SPARSITY = "flashwick.predictor.sparsity";
const KEY_TRAINING = "flashwick.predictor.training";

/** What a predictor file says about itself, without the weights. */
export interface PredictorHeader {
  readonly modelFingerprint: string;
  readonly dModel: number;
  readonly dFf: number;
  readonly layers: readonly PredictorLayerShape[];
  /** Null in files that were written without. */
  readonly sparsity: SparsityStatistics | null;
  readonly training: Readonly<Record<string, unknown>>;
  readonly fileBytes: number;
  /** Bytes of the matrices and their scales: what it costs in DRAM. */
  readonly weightBytes: number;
  /** Plain metadata for display, long values shortened. */
  readonly metadata: ReadonlyMap<string, unknown>;
}

/**
 * Writes a predictor. On any failure the sink is abandoned.
 *
 * @throws {IoError} `IO_NO_SPACE`, `IO_WRITE`.
 */
export async function writePredictorFile(sink: ByteSink, predictor: Predictor): Promise<void> {
  assert(isFingerprint(predictor.modelFingerprint), "a model fingerprint is 64 hex digits");
  const pieces = predictor.layers.flatMap((layer, i) => {
    assert(layer.layer === i, `predictor layers are ascending and complete: layer ${layer.layer} stands at ${i}`);
    checkMatrix(layer.w1, layer.rank, predictor.dModel);
    checkMatrix(layer.w2, layer.w2.rows, layer.rank);
    return [...matrixPieces(`blk.${i}.predictor_w1`, layer.w1), ...matrixPieces(`blk.${i}.predictor_w2`, layer.w2)];
  });
  const text = (value: string): GgufValue => ({ type: "string", value });
  const general = new Map([
    ["general.architecture", text("flashwick-predictor")],
    ["general.type", text("predictor")],
  ]);
  const plan = planContainer("predictor", general, encodeFacts(predictor), pieces);
  const crcs = Uint32Array.from(pieces, ({ bytes }) => crc32c(bytes));
  try {
    for (const [i, { bytes }] of pieces.entries()) await sink.write(bytes, plan.tensors[i]!.offset);
    await sink.write(encodeContainerHeader(plan, crcs), 0);
    await sink.commit(plan.fileBytes);
  } catch (error) {
    // Should abandoning fail as well, the first failure is the one to report.
    await sink.abandon().catch(() => {});
    throw error;
  }
}

/**
 * Reads the header of a predictor file: ranks, types, thresholds, quality.
 *
 * @throws {FormatError} `FORMAT_…`; a model file is `FORMAT_INVALID`. {IntegrityError} `INTEGRITY_HEADER`.
 */
export async function readPredictorHeader(source: ByteSource): Promise<PredictorHeader> {
  const container = await readContainer(source, "predictor");
  const facts = decodeFacts(container);
  const shapeOf = ({ dtype, rows, cols }: MatrixTensors): PredictorMatrixShape => ({ dtype, rows, cols });
  const layers = layerTensors(source, container, facts).map(({ w1, w2, ...quality }) => ({
    ...quality,
    w1: shapeOf(w1),
    w2: shapeOf(w2),
  }));
  return { ...facts, layers };
}

/**
 * Opens a predictor file: reads its header; a layer's weights are read when asked for. Does not take ownership of `source`.
 *
 * @throws As {@link readPredictorHeader}; {FormatError} `FORMAT_MISSING` for a tensor that is not there.
 */
export async function openPredictorFile(source: ByteSource): Promise<PredictorSource> {
  const container = await readContainer(source, "predictor");
  const facts = decodeFacts(container);
  const { modelFingerprint, dModel, dFf, sparsity } = facts;
  const layers = layerTensors(source, container, facts);
  return {
    modelFingerprint,
    dModel,
    dFf,
    layers,
    sparsity,
    async readLayer(index, signal) {
      const { w1, w2, ...quality } = layers[index]!;
      return { ...quality, w1: await readMatrix(source, w1, signal), w2: await readMatrix(source, w2, signal) };
    },
  };
}

/**
 * Reads a predictor whole.
 *
 * @throws As {@link openPredictorFile}; {IntegrityError} `INTEGRITY_TENSOR`.
 * Cost: the weights, in memory.
 */
export async function readPredictorFile(source: ByteSource, signal?: AbortSignal): Promise<Predictor> {
  const { training, sparsity } = await readPredictorHeader(source);
  const { modelFingerprint, dModel, dFf, layers: shapes, readLayer } = await openPredictorFile(source);
  const layers: PredictorLayer[] = [];
  for (const { layer } of shapes) layers.push(await readLayer(layer, signal));
  return { modelFingerprint, dModel, dFf, layers, sparsity, training };
}

function checkMatrix(matrix: PredictorMatrix, rows: number, cols: number): void {
  assert(
    matrix.rows === rows && matrix.cols === cols,
    `a matrix [${matrix.rows}, ${matrix.cols}], not [${rows}, ${cols}]`,
  );
  assert((matrix.scales?.length ?? rows) === rows, "one scale a row");
  assert((matrix.scales !== null) === (matrix.dtype === "int8"), "int8 has scales, and nothing else does");
}

type Piece = Pick<ContainerTensor, "name" | "type" | "shape"> & { readonly bytes: Uint8Array };

function matrixPieces(name: string, { dtype, rows, cols, data, scales }: PredictorMatrix): Piece[] {
  const elements: Piece = { name, type: GGML_TYPE_OF_DTYPE[dtype], shape: [cols, rows], bytes: data };
  if (scales === null) return [elements];
  const bytes = new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength);
  return [elements, { name: scaleName(name), type: "F32", shape: [rows], bytes }];
}

function encodeFacts(predictor: Predictor): Map<string, GgufValue> {
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const facts = new Map<string, GgufValue>([
    [KEY_FINGERPRINT, { type: "string", value: predictor.modelFingerprint }],
    [KEY_LAYERS, u32(predictor.layers.length)],
    [KEY_D_MODEL, u32(predictor.dModel)],
    [KEY_D_FF, u32(predictor.dFf)],
    [KEY_RANK, { type: "array", of: "u32", value: Uint32Array.from(predictor.layers, ({ rank }) => rank) }],
    [KEY_TRAINING, { type: "string", value: JSON.stringify(predictor.training) }],
  ]);
  const widths = predictor.layers.map(({ w2 }) => w2.rows);
  assert(Math.max(...widths) === predictor.dFf, "a predictor is as wide as its widest layer");
  if (widths.some((width) => width !== predictor.dFf)) {
    facts.set(KEY_D_FF_BY_LAYER, { type: "array", of: "u32", value: Uint32Array.from(widths) });
  }
  if (predictor.sparsity) facts.set(KEY_SPARSITY, { type: "string", value: JSON.stringify(predictor.sparsity) });
  for (const figure of FIGURES) {
    const value = Float64Array.from(predictor.layers, (layer) => layer[figure]);
    facts.set(KEY_OF_FIGURE[figure], { type: "array", of: "f64", value });
  }
  return facts;
}

/** Facts of a header, before the tensors are looked for. */
type PredictorFacts = Omit<PredictorHeader, "layers"> & { readonly layers: readonly PredictorQuality[] };

function decodeFacts(container: Container): PredictorFacts {
  const { metadata } = container;
  const modelFingerprint = metadata.string(KEY_FINGERPRINT);
  if (!isFingerprint(modelFingerprint)) throw metadata.invalid(KEY_FINGERPRINT, "64 hex digits", "something else");
  const nLayers = metadata.integer(KEY_LAYERS, 1, MAX_LAYERS);
  const ranks = metadata.array(KEY_RANK, "u32", nLayers);
  const figures = new Map(FIGURES.map((figure) => [figure, metadata.array(KEY_OF_FIGURE[figure], "f64", nLayers)]));
  if (figures.get("threshold")!.some(Number.isNaN)) {
    throw metadata.invalid(KEY_OF_FIGURE.threshold, "numbers", "NaN");
  }
  const layers = Array.from(ranks, (rank, layer): PredictorQuality => {
    if (rank < 1 || rank > MAX_WIDTH) throw metadata.invalid(KEY_RANK, `ranks from 1 to ${MAX_WIDTH}`, `${rank}`);
    const own = Object.fromEntries(FIGURES.map((figure) => [figure, figures.get(figure)![layer]!]));
    return { layer, rank, ...(own as Record<(typeof FIGURES)[number], number>) };
  });
  return {
    modelFingerprint,
    dModel: metadata.integer(KEY_D_MODEL, 1, MAX_WIDTH),
    dFf: metadata.integer(KEY_D_FF, 1, MAX_WIDTH),
    layers,
    sparsity: decodeSparsity(container, nLayers),
    training: decodeTraining(container),
    fileBytes: container.fileBytes,
    weightBytes: Array.from(container.tensors.values()).reduce((sum, tensor) => sum + tensor.sizeBytes, 0),
    metadata: displayMetadata(container.values),
  };
}

/** Neurons of each layer. */
function decodeWidths({ metadata }: Container, nLayers: number, dFf: number): readonly number[] {
  if (!metadata.has(KEY_D_FF_BY_LAYER)) return new Array<number>(nLayers).fill(dFf);
  const widths = Array.from(metadata.array(KEY_D_FF_BY_LAYER, "u32", nLayers));
  if (widths.every((width) => width >= 1) && Math.max(...widths) === dFf) return widths;
  throw metadata.invalid(KEY_D_FF_BY_LAYER, `numbers from 1 to ${dFf}, which one is`, `${widths.slice(0, 8)}`);
}

function decodeTraining(container: Container): Record<string, unknown> {
  return decodeObject(container, KEY_TRAINING);
}

/** Absent in older files. */
function decodeSparsity(container: Container, nLayers: number): SparsityStatistics | null {
  const { metadata } = container;
  if (metadata.optionalString(KEY_SPARSITY) === null) return null;
  const found = decodeObject(container, KEY_SPARSITY) as unknown as SparsityStatistics;
  if (!isShapedLikeSparsity(found)) {
    throw metadata.invalid(KEY_SPARSITY, "statistics with unionTokens and layers", "another object");
  }
  const fault = findSparsityFault(found, nLayers);
  if (fault) throw metadata.invalid(`${KEY_SPARSITY}: ${fault.field}`, fault.expected, showValue(fault.found));
  return found;
}

function isShapedLikeSparsity({ source, unionTokens, layers, clumping, namedQuantiles }: SparsityStatistics): boolean {
  const areNumbers = (value: unknown) => Array.isArray(value) && value.every((number) => typeof number === "number");
  return (
    typeof source === "string" &&
    areNumbers(unionTokens) &&
    Array.isArray(layers) &&
    layers.every((layer) => areNumbers(layer?.unionShare) && areNumbers(layer?.freshShare)) &&
    layers.every(({ unevenness, activeShare }) => isNumberOrNull(unevenness) && isNumberOrNull(activeShare)) &&
    isNumberOrNull(clumping) &&
    (namedQuantiles === null || areNumbers([namedQuantiles?.p50, namedQuantiles?.p90, namedQuantiles?.p99]))
  );
}

function isNumberOrNull(value: unknown): boolean {
  return value === null || typeof value === "number";
}

function decodeObject({ metadata }: Container, key: string): Record<string, unknown> {
  const text = metadata.string(key);
  try {
    const object: unknown = JSON.parse(text);
    if (typeof object === "object" && object !== null && !Array.isArray(object)) {
      return object as Record<string, unknown>;
    }
  } catch {
    // Reported below, as any other text that is no object.
  }
  throw metadata.invalid(key, "a JSON object", JSON.stringify(text.slice(0, 80)));
}

const DTYPE_OF_GGML_TYPE = new Map<string, PredictorMatrix["dtype"]>([
  ["F32", "f32"],
  ["F16", "f16"],
  ["I8", "int8"],
  ["Q8_0", "q8_0"],
  ["Q4_0", "q4_0"],
]);

/** A matrix in a predictor file: elements and, for int8, scales. */
interface MatrixTensors extends PredictorMatrixShape {
  readonly elements: CheckedTensor;
  readonly scale: CheckedTensor | null;
}

/** Where each layer's matrices lie. */
function layerTensors(source: ByteSource, container: Container, { dModel, dFf, layers }: PredictorFacts) {
  const widths = decodeWidths(container, layers.length, dFf);
  return layers.map((quality) => {
    const name = `blk.${quality.layer}.predictor`;
    const w1 = matrixTensors(source, container, `${name}_w1`, quality.rank, dModel);
    const w2 = matrixTensors(source, container, `${name}_w2`, widths[quality.layer]!, quality.rank);
    return { ...quality, w1, w2 };
  });
}

function matrixTensors(
  source: ByteSource,
  container: Container,
  name: string,
  rows: number,
  cols: number,
): MatrixTensors {
  const elements = requireTensor(container, { name, shape: [cols, rows] });
  const dtype = DTYPE_OF_GGML_TYPE.get(elements.type);
  if (dtype === undefined) {
    throw tensorError(`${source.name}: tensor "${name}"`, "type F32, F16, I8, Q8_0 or Q4_0", elements.type);
  }
  const isInt8 = dtype === "int8";
  const scale = isInt8 ? requireTensor(container, { name: scaleName(name), type: "F32", shape: [rows] }) : null;
  return { dtype, rows, cols, elements, scale };
}

async function readMatrix(
  source: ByteSource,
  { dtype, rows, cols, elements, scale }: MatrixTensors,
  signal?: AbortSignal,
): Promise<PredictorMatrix> {
  const data = new Uint8Array(elements.sizeBytes);
  await readChecked(source, elements.name, elements, data, signal);
  if (scale === null) return { dtype, rows, cols, data, scales: null };
  const scales = new Float32Array(rows);
  await readChecked(source, scale.name, scale, new Uint8Array(scales.buffer), signal);
  return { dtype, rows, cols, data, scales };
}
