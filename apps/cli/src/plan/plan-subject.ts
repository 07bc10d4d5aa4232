/** What a plan is asked for: a model file, a checkpoint's config.json, or a model by name; all become the same question to the cost model. */
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import {
  type ByteSource,
  type ConvertDType,
  type DType,
  InputError,
  isRecordDType,
  isSparse,
  kvWidth,
  type ModelGeometry,
  neuronGrid,
  type PredictorLayerShape,
  queryWidth,
  RECORD_DTYPES,
  type ResidentDType,
  type SparsityStatistics,
} from "@flashwick/core";
import {
  denseBytes,
  type EngineSettings,
  type ExpertLocality,
  ffnFlashBytes,
  localityOf,
  type MemoryPlan,
  MIXTURE_PRESETS,
  type MixtureShape,
  MODEL_PRESETS,
  mixturePreset,
  modelPreset,
  type PlanRequest,
  parseLocality,
  parseSparsity,
  planMemory,
  powerLawLayer,
  UNION_TOKENS,
} from "@flashwick/cost-model";
import {
  expertDTypesOf,
  type ModelHeader,
  openModelFile,
  openPredictorFile,
  planHeader,
  readPredictorHeader,
  sidecarPath,
  withChecksumsBeside,
} from "@flashwick/flash-format";
import { type CheckpointConfig, parseCheckpointConfig } from "@flashwick/flash-format/convert";
import { fileSource } from "@flashwick/flash-format/node";
import { poolScratch } from "@flashwick/kernels-wasm";
import {
  type DraftAcceptance,
  draftAcceptance,
  EXPERT_POLICY,
  type PredictorShapes,
  planRequest,
  policyLocality,
  shapeOf,
} from "@flashwick/runtime/node/estimate";
import { readTrace } from "../trace-file.js";
import type { PlanFacts } from "./plan-document.js";

export interface SubjectOptions {
  readonly dtype?: ConvertDType | undefined;
  readonly layout?: "bundled" | "split" | undefined;
  readonly predictor?: string | undefined;
  readonly dense?: boolean | undefined;
  readonly sparsity?: string | undefined;
  /** Of a file yet to be made: gates that stay in DRAM. */
  readonly gateFirst?: ResidentDType | undefined;
  /** Statistics of what resident gates name. */
  readonly gateSparsity?: string | undefined;
}

/** A model that can be planned for. */
export interface PlanSubject {
  readonly name: string;
  /** Of the model file, there or yet to be made: what percentages are of. */
  readonly fileBytes: number;
  readonly dtype: DType;
  /** What a token names some of. */
  readonly units: "neurons" | "experts";
  /** Where it is known from what will be named, and how often it comes back; null: every neuron is. */
  readonly sparsitySource: string | null;
  readonly contextLength: number;
  /** What drafts of a lossless run are accepted with; null where nothing drafts. */
  readonly acceptance: DraftAcceptance | null;
  /** The question to the cost model; device, budget and length are the caller's. */
  readonly request: (wish: SubjectWish) => PlanRequest;
}

/** What a document says of a subject on a device. */
export function planFacts(
  { name, dtype, units, sparsitySource, fileBytes }: PlanSubject,
  { device, budgetBytes, energy }: Pick<PlanFacts, "device" | "budgetBytes" | "energy">,
): PlanFacts {
  return { model: name, device, dtype, units, sparsitySource, fileBytes, budgetBytes, energy };
}

export interface SubjectWish extends Pick<PlanRequest, "profile" | "length" | "fixed"> {
  readonly dramBudgetBytes: number | null;
  readonly contextTokens: number;
  readonly kvPrecision: "auto" | "f32" | "f16" | "int8";
}

/**
 * @param what A path, or one of the presets' names.
 * @throws {IoError} {FormatError} {UnsupportedError} {InputError} naming file and field.
 */
export async function openSubject(what: string, options: SubjectOptions): Promise<PlanSubject> {
  if (MODEL_PRESETS.includes(what) && !existsSync(what)) return await presetSubject(what, options);
  if (MIXTURE_PRESETS.includes(what) && !existsSync(what)) return await mixtureSubject(what, options);
  if (what.endsWith(".gguf")) return await fileSubject(what, options);
  return await configSubject(what, options);
}

async function presetSubject(name: string, options: SubjectOptions): Promise<PlanSubject> {
  const dtype = options.dtype ?? "f16";
  if (!isRecordDType(dtype)) {
    const message = `${name}: expected one of ${RECORD_DTYPES.join(", ")} of its neurons, found ${dtype}`;
    throw new InputError("INPUT_INVALID", message, { details: { field: "dtype", found: dtype } });
  }
  const { shape, sparsity: published, memoryRequest, published: facts } = modelPreset(name, dtype);
  const sparsity = options.dense ? null : ((await readSparsity(options.sparsity)) ?? published);
  const resident = shape.nLayers * shape.attentionBytes + shape.headBytes + shape.rowTableBytes;
  return {
    name,
    fileBytes: resident + ffnFlashBytes(shape),
    dtype,
    units: "neurons",
    sparsitySource: sparsity?.source ?? null,
    contextLength: facts.contextLength,
    acceptance: sparsity && draftAcceptance(null),
    request: ({ dramBudgetBytes: budgetBytes, contextTokens, kvPrecision, ...wish }) => ({
      ...wish,
      shape,
      sparsity,
      memory: onceEach((mode) => planMemory(memoryRequest(mode, { budgetBytes, contextTokens, kvPrecision }))),
    }),
  };
}

async function mixtureSubject(name: string, options: SubjectOptions): Promise<PlanSubject> {
  const { shape, locality: published, memoryRequest, published: facts } = mixturePreset(name, options.dtype ?? null);
  const locality = (await readLocality(options.sparsity, shape.mixture!)) ?? published;
  return {
    name,
    fileBytes: denseBytes(shape) + shape.rowTableBytes,
    dtype: shape.dtype,
    units: "experts",
    sparsitySource: locality.source,
    contextLength: facts.contextLength,
    acceptance: null,
    request: ({ dramBudgetBytes: budgetBytes, contextTokens, kvPrecision, ...wish }) => ({
      ...wish,
      shape,
      sparsity: null,
      locality,
      memory: onceEach(() => planMemory(memoryRequest({ budgetBytes, contextTokens, kvPrecision }))),
    }),
  };
}

/** A plan of memory for each mode, made when it is first asked for. */
function onceEach(make: (mode: EngineSettings["mode"]) => MemoryPlan): PlanRequest["memory"] {
  const made = new Map<EngineSettings["mode"], MemoryPlan>();
  return ({ mode }) => {
    const plan = made.get(mode) ?? make(mode);
    made.set(mode, plan);
    return plan;
  };
}

async function fileSubject(path: string, options: SubjectOptions): Promise<PlanSubject> {
  const source = await fileSource(path);
  try {
    const { header } = await withChecksumsBeside(await openModelFile(source));
    const sidecar = options.predictor ?? sidecarPath(path);
    const wanted = !options.dense && (options.predictor !== undefined || existsSync(sidecar));
    const predictor = wanted ? await readPredictorFrom(sidecar) : null;
    return await headerSubject(path, header, header.fileBytes, predictor, options);
  } finally {
    await source.close();
  }
}

/**
 * Of a model file that is not on this disk.
 *
 * @param predictor The predictor that lies beside it; null: there is none. One that the options name comes first.
 * @throws As {@link openSubject}. The sources stay open.
 */
export async function sourceSubject(
  name: string,
  source: ByteSource,
  predictor: ByteSource | null,
  options: SubjectOptions,
): Promise<PlanSubject> {
  const { header } = await openModelFile(source);
  const given = options.predictor === undefined ? null : await readPredictorFrom(options.predictor);
  const beside = predictor === null || options.dense ? null : await readPredictor(predictor);
  return await headerSubject(name, header, header.fileBytes, options.dense ? null : (given ?? beside), options);
}

async function configSubject(path: string, options: SubjectOptions): Promise<PlanSubject> {
  const isFolder = (await stat(path).catch(() => null))?.isDirectory() === true;
  const file = isFolder ? join(path, "config.json") : path;
  if (!existsSync(file)) {
    const expected = `a model file, a checkpoint's folder, its config.json, or one of ${[...MODEL_PRESETS, ...MIXTURE_PRESETS].join(", ")}`;
    throw new InputError("INPUT_INVALID", `${path}: expected ${expected}; found nothing of this name`, {
      details: { field: "model", found: path },
    });
  }
  const config = parseCheckpointConfig(await readFile(file, "utf8"), file);
  return await checkpointSubject(basename(file) === "config.json" ? path : file, config, options);
}

/** Of the file that a checkpoint would be converted to. @throws As {@link openSubject}. */
export async function checkpointSubject(
  name: string,
  config: CheckpointConfig,
  options: SubjectOptions,
): Promise<PlanSubject> {
  const dtype = options.dtype ?? config.dtype ?? "f16";
  const keepsBlocks = options.dtype === undefined && config.expertDType !== null;
  const header = planHeader(config.geometry, {
    ...{ dtype, layout: options.layout ?? "bundled", gateDtype: options.gateFirst ?? null },
    expertDTypes: keepsBlocks ? expertDTypesOf(config.geometry, config.expertDType) : null,
  });
  const predictor = options.predictor
    ? await readPredictorFrom(options.predictor)
    : options.dense || !isSparse(config.geometry)
      ? null
      : assumedPredictor(config.geometry);
  return await headerSubject(name, header, header.fileBytes, predictor, options);
}

async function headerSubject(
  name: string,
  header: ModelHeader,
  fileBytes: number,
  predictor: SubjectPredictor | null,
  options: SubjectOptions,
): Promise<PlanSubject> {
  if (header.experts.length > 0) return await mixtureHeaderSubject(name, header, fileBytes, options);
  const given = await readSparsity(options.sparsity);
  const gateSparsity = await readSparsity(options.gateSparsity);
  const sparsity = predictor && (given ?? predictor.sparsity ?? assumedSparsity(header.geometry.layers.length));
  return {
    name,
    fileBytes,
    dtype: header.weights.dtype,
    units: "neurons",
    sparsitySource: sparsity?.source ?? null,
    contextLength: header.geometry.contextLength,
    acceptance: predictor && draftAcceptance(predictor.training),
    request: (wish) => planRequest(header, { ...wish, predictor, sparsity, gateSparsity, scratch: poolScratch }),
  };
}

async function mixtureHeaderSubject(
  name: string,
  header: ModelHeader,
  fileBytes: number,
  options: SubjectOptions,
): Promise<PlanSubject> {
  const mixture = shapeOf(header, null).mixture!;
  const locality = (await readLocality(options.sparsity, mixture)) ?? localityOf(mixture);
  return {
    name,
    fileBytes,
    dtype: header.weights.dtype,
    units: "experts",
    sparsitySource: locality.source,
    contextLength: header.geometry.contextLength,
    acceptance: null,
    request: (wish) => planRequest(header, { ...wish, locality, scratch: poolScratch }),
  };
}

/** Shapes, and what is known of the training; null for a predictor that nobody has trained yet. */
interface SubjectPredictor extends PredictorShapes {
  readonly training: Readonly<Record<string, unknown>> | null;
}

async function readPredictorFrom(path: string): Promise<SubjectPredictor> {
  const source = await fileSource(path);
  try {
    return await readPredictor(source);
  } finally {
    await source.close();
  }
}

async function readPredictor(source: ByteSource): Promise<SubjectPredictor> {
  const { training } = await readPredictorHeader(source);
  return { ...(await openPredictorFile(source)), training };
}

async function readSparsity(path: string | undefined): Promise<SparsityStatistics | null> {
  return path === undefined ? null : parseSparsity(await readJson(path), path);
}

/** A trace of experts, or a document of their curves. */
async function readLocality(path: string | undefined, mixture: MixtureShape): Promise<ExpertLocality | null> {
  if (path === undefined) return null;
  if (path.endsWith(".json")) return parseLocality(await readJson(path), path, mixture);
  const counts = mixture.layers.map(({ experts }) => experts?.count ?? 0);
  const trace = await readTrace(path);
  return policyLocality(`a trace of ${trace.tokens.length} tokens, ${path}`, trace, { policy: EXPERT_POLICY, counts });
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InputError("INPUT_INVALID", `${path}: expected JSON (${(cause as Error).message})`, { cause });
  }
}

/** OPT 6.7B's, as LLM in a flash has it: 10 % named, and s_agg(k) growing with the root of k. */
const ASSUMED_NAMED = 0.1;
const ASSUMED_ACTIVE = 0.033;
/** Its predictors: 2.44 % of the weights of layers. */
const ASSUMED_PREDICTOR_SHARE = 0.0244;

function assumedSparsity(nLayers: number): SparsityStatistics {
  return {
    source: "assumed: OPT 6.7B's as published in LLM in a flash; train a predictor to know",
    unionTokens: UNION_TOKENS,
    layers: Array.from({ length: nLayers }, () => powerLawLayer(ASSUMED_NAMED, 0.5, ASSUMED_ACTIVE)),
    clumping: null,
    namedQuantiles: null,
  };
}

/** A predictor that nobody has trained yet: of the size that one would have. */
function assumedPredictor(geometry: ModelGeometry): SubjectPredictor {
  const { nLayers, dModel, dFf } = neuronGrid(geometry);
  const { attention, ffn } = geometry.layers[0]!;
  const weights = 2 * dModel * (queryWidth(attention) + kvWidth(attention)) + (ffn.gated ? 3 : 2) * dModel * dFf;
  const rank = Math.max(8, Math.round((ASSUMED_PREDICTOR_SHARE * weights) / (dModel + dFf)));
  const layer = (index: number): PredictorLayerShape => ({
    layer: index,
    rank,
    threshold: 0,
    trueActiveShare: ASSUMED_ACTIVE,
    namedShare: ASSUMED_NAMED,
    recall: 1,
    precision: ASSUMED_ACTIVE / ASSUMED_NAMED,
    missedMass: 0,
    w1: { dtype: "int8", rows: rank, cols: dModel },
    w2: { dtype: "int8", rows: dFf, cols: rank },
  });
  return { layers: Array.from({ length: nLayers }, (_, index) => layer(index)), sparsity: null, training: null };
}
