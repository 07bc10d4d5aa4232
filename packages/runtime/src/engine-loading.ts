/** Building an engine: arenas are allocated as the plan says, everything gets its place, and the resident weights are read. */
import {
  activationOf,
  assert,
  type ColumnStage,
  columnCounts,
  hasResidentGate,
  neuronBiases,
  widestFfn,
} from "@flashwick/core";
import { kvPageCount, kvTableBytes } from "@flashwick/cost-model";
import { createNeuronCache } from "@flashwick/dram-cache";
import { columnsOf, readColumnChecksums, readRecordChecksums, recordLayout } from "@flashwick/flash-format";
import { Arena, type Kernels, type Ptr } from "@flashwick/kernels";
import { type PlacedPredictor, placePredictor } from "@flashwick/predictor";
import type { ArenaContext } from "./arena-context.js";
import { planArenas } from "./arena-plan.js";
import { cachePolicy } from "./cache-policy.js";
import { ColumnFfn } from "./column-ffn.js";
import { ColumnSlots } from "./column-slots.js";
import { ColumnSums } from "./column-sums.js";
import { Engine, type LoadedModel, releaseContexts } from "./engine.js";
import type { ColumnLayer, EngineLayer, MatrixLayer, RecordLayer } from "./engine-layer.js";
import { type EngineParts, largestArena } from "./engine-parts.js";
import { type EngineSizes, engineSizes, SLOT_ALIGNMENT } from "./engine-sizes.js";
import { ForwardPass } from "./forward-pass.js";
import { KvPool } from "./kv-pool.js";
import { LayerChecks } from "./layer-checks.js";
import { LayerMatrices } from "./layer-matrices.js";
import { StreamStage } from "./layer-stream.js";
import { LookAheadMeter } from "./look-ahead-meter.js";
import { linkLookAheads, placeExperts, placeMixtureLayer } from "./mixture-loading.js";
import { slotBytesByLayer } from "./mixture-shape.js";
import { NeuronSlots, neuronPlaces } from "./neuron-slots.js";
import { fillPositionTables } from "./position-tables.js";
import { typedIfRefused } from "./refused-memory.js";
import { ResidentGate } from "./resident-gate.js";
import { ResidentLoader } from "./resident-weights.js";
import { SparseFfn } from "./sparse-ffn.js";
import { StreamedFfn } from "./streamed-ffn.js";
import { allocateWorkspace } from "./workspace.js";

/**
 * Allocates what the plan says, and loads the resident weights, and of a mixture the experts that are known to be hot.
 *
 * @throws {IntegrityError} {FormatError} {IoError} as the file deserves; the signal's own reason. Nothing stays allocated then.
 */
export async function loadEngine(parts: EngineParts): Promise<Engine> {
  const sizes = engineSizes(parts.file.header, parts.predictor, parts.plan, parts.config.mode, {
    ...parts,
    mergeGapBytes: parts.config.mergeGapBytes,
    cacheScope: parts.config.cacheScope,
  });
  const arenas = planArenas(sizes.layerBytes, sizes.globalBytes, sizes.perArenaBytes, largestArena(parts));
  assert(arenas.bytesByArena.length <= sizes.arenas, "the memory plan accounts for every arena");
  const contexts: ArenaContext[] = [];
  try {
    for (const bytes of arenas.bytesByArena) {
      contexts.push(createContext(contexts.length, bytes, parts, sizes, arenas.arenaOfLayer));
    }
    const model = await placeModel(parts, contexts, arenas.arenaOfLayer);
    const engine = new Engine(parts, model);
    await engine.loadResident(parts.signal);
    await engine.loadHotExperts();
    await engine.weighUnits(parts.signal);
    await model.forward.verifyTables(parts.signal);
    return engine;
  } catch (error) {
    releaseContexts(parts, contexts);
    throw typedIfRefused(error);
  }
}

function createContext(
  index: number,
  bytes: number,
  parts: EngineParts,
  sizes: EngineSizes,
  arenaOfLayer: readonly number[],
): ArenaContext {
  const arena = new Arena(bytes, parts.sharedMemory || parts.reader.needsSharedMemory);
  try {
    return placeContext(index, arena, parts, sizes, arenaOfLayer);
  } catch (error) {
    // Compute threads may know it already, and would keep its memory.
    releaseContexts(parts, [{ arena }]);
    throw error;
  }
}

/** Gives everything that all layers of an arena share its place. */
function placeContext(
  index: number,
  arena: Arena,
  parts: EngineParts,
  sizes: EngineSizes,
  arenaOfLayer: readonly number[],
): ArenaContext {
  const kernels = parts.kernels(arena);
  const workspace = allocateWorkspace(arena, sizes.workspace, kernels);
  fillPositionTables(kernels, workspace, sizes.workspace.geometry, sizes.workspace.contextTokens);
  const pages = (size: number) => (size === 0 ? 0 : arena.allocate(size - SLOT_ALIGNMENT, SLOT_ALIGNMENT));
  const stage = { ptr: pages(sizes.stageBytes), slots: sizes.stageSlots };
  const pageTables = arena.allocate(parts.plan.sequences * kvTableBytes(parts.plan.contextTokens));
  const gapPtr = pages(sizes.gapBytes);
  // Slots of an arena's layers lie in one block, so that only its start is rounded up to a page; what is streamed lands behind them.
  const { header } = parts.file;
  const { slotBytes, layout } = header.weights;
  const { streamNeurons } = parts.plan;
  const hasSlots = layout !== "matrices";
  const hasBiases = layout === "bundled" || layout === "split";
  const bytesOf = slotBytesByLayer(header, parts.config.cacheScope);
  const slotsOf = (slots: readonly number[], bytes: (layer: number) => number) =>
    slots.reduce((sum, n, i) => sum + (arenaOfLayer[i] === index ? n * bytes(i) : 0), 0);
  const slotsBytes = hasSlots ? slotsOf(parts.plan.slotsByLayer, (layer) => bytesOf[layer]!) : 0;
  const columns = columnsOf(header);
  const passing = columns ? columns.outputs.strideBytes : slotBytes;
  const slotBase = arena.allocate(slotsBytes + 2 * streamNeurons * passing, SLOT_ALIGNMENT);
  const biasCount = hasBiases ? neuronBiases(sizes.workspace.geometry, hasResidentGate(header)) : 0;
  const bias = biasCount === 0 ? 0 : arena.allocate(8 * biasCount * streamNeurons);
  const stream = new StreamStage(slotBase + slotsBytes, streamNeurons, passing, bias, biasCount);
  const inputBytes = columns?.inputs.strideBytes ?? 0;
  const inputSlotsBytes = slotsOf(parts.plan.inputSlotsByLayer, () => inputBytes);
  const inputs = columns && placeInputs(arena, inputSlotsBytes, inputBytes, streamNeurons);
  return { index, arena, kernels, workspace, stage, slotBase, stream, inputs, pageTables, gapPtr };
}

/** A block of slots of inputs, and behind them what passes through. */
function placeInputs(arena: Arena, slotsBytes: number, slotBytes: number, streamed: number): ArenaContext["inputs"] {
  const slotBase = arena.allocate(slotsBytes + 2 * streamed * slotBytes, SLOT_ALIGNMENT);
  return { slotBase, stream: new StreamStage(slotBase + slotsBytes, streamed, slotBytes, 0, 0) };
}

async function placeModel(
  parts: EngineParts,
  contexts: readonly ArenaContext[],
  arenaOfLayer: readonly number[],
): Promise<LoadedModel> {
  const { plan, file, reader } = parts;
  const { geometry } = file.header;
  const slotTops = contexts.map(({ slotBase, inputs }) => ({ outputs: slotBase, inputs: inputs?.slotBase ?? 0 }));
  const loader = new ResidentLoader(file);
  const globals = loader.globals(contexts[0]!.arena, plan.rowTablesResident);
  const experts = placeExperts(parts, contexts, arenaOfLayer);
  const limits = parts.config.lookahead === "metered" ? new LookAheadMeter() : null;
  const columns = columnsOf(file.header);
  const widest = Math.max(widestFfn(geometry), columns ? geometry.dModel : 0);
  const shared = {
    all: Uint32Array.from({ length: widest }, (_, i) => i),
    reordered: new Float32Array(widest),
    unionScratch: new Uint32Array(widest),
  };
  const layers: EngineLayer[] = [];
  for (const [index, arena] of arenaOfLayer.entries()) {
    if (file.header.weights.layout === "matrices") {
      layers.push(placeMatrixLayer(parts, index, contexts[arena]!, loader));
      continue;
    }
    if (file.header.weights.layout === "experts") {
      layers.push(await placeMixtureLayer(parts, index, contexts[arena]!, experts[index]!, limits, loader));
      continue;
    }
    const tops = slotTops[arena]!;
    const slotBase = tops.outputs;
    if (columns) {
      layers.push(await placeColumnLayer(parts, index, contexts[arena]!, { ...tops }, loader, shared));
      tops.inputs += plan.inputSlotsByLayer[index]! * columns.inputs.strideBytes;
      tops.outputs += plan.slotsByLayer[index]! * columns.outputs.strideBytes;
      continue;
    }
    tops.outputs += plan.slotsByLayer[index]! * file.header.weights.slotBytes;
    layers.push(await placeLayer(parts, index, contexts[arena]!, slotBase, loader, shared));
  }
  if (parts.config.lookahead !== "off") linkLookAheads(layers, geometry.dModel);
  const pool = new KvPool({
    contexts,
    dtype: plan.kvPrecision,
    layers: geometry.layers.map(({ attention }) => attention),
    arenaOfLayer,
    pages: plan.sequences * kvPageCount(plan.contextTokens),
    sequences: plan.sequences,
    tablePages: kvPageCount(plan.contextTokens),
  });
  const forward = new ForwardPass(file, reader, contexts[0]!, globals, pool, plan);
  return { contexts, layers, forward, pool, loader };
}

/** What all layers share: 0 … dFf − 1 of the widest, or the number of any layer's units less one, and scratch of as many elements. */
interface SharedByLayers {
  readonly all: Uint32Array;
  readonly reordered: Float32Array;
  /** For the union of several tokens' sets. */
  readonly unionScratch: Uint32Array;
}

function placeMatrixLayer(
  { plan, file, reader }: EngineParts,
  index: number,
  context: ArenaContext,
  loader: ResidentLoader,
): MatrixLayer {
  const { arena, kernels, workspace, stream } = context;
  const geometry = file.header.geometry.layers[index]!;
  const weights = loader.layer(arena, index);
  const isResident = plan.slotsByLayer[index] === geometry.ffn.dFf;
  const streamed = new LayerMatrices({
    kernels,
    reader,
    source: file.source,
    workspace,
    tensors: file.header.matrices[index]!,
    resident: isResident ? loader.matrices(arena, index) : null,
    stage: stream,
    checks: isResident || !file.header.checksums ? null : new LayerChecks(file, index),
  });
  return { storage: "matrices", index, geometry, context, weights, streamed };
}

/** @param slotBases Where the layer's slots of inputs and of neurons begin. */
async function placeColumnLayer(
  parts: EngineParts,
  index: number,
  context: ArenaContext,
  slotBases: Readonly<Record<ColumnStage, Ptr>>,
  loader: ResidentLoader,
  { all, unionScratch }: SharedByLayers,
): Promise<ColumnLayer> {
  const { plan, file, reader, config, signal } = parts;
  const { header } = file;
  const { dModel } = header.geometry;
  const geometry = header.geometry.layers[index]!;
  const { arena, kernels, workspace, gapPtr } = context;
  const layout = columnsOf(header)!;
  const counts = columnCounts(dModel, geometry);
  const slotCounts = { inputs: plan.inputSlotsByLayer[index]!, outputs: plan.slotsByLayer[index]! };
  const stages = { inputs: context.inputs!.stream, outputs: context.stream };
  const sumsOf = async (stage: ColumnStage) => {
    const [units, slotBase] = [counts[stage], slotBases[stage]];
    const { strideBytes } = layout[stage];
    const slots = new ColumnSlots({
      ...{ layer: index, kernels, workspace, reader, slotBase, slotBytes: strideBytes },
      unit: stage === "inputs" ? "input" : "neuron",
      dtype: layout.dtype,
      records: layout[stage],
      cache: createNeuronCache({
        dFf: units,
        slotCount: slotCounts[stage],
        policy: cachePolicy(config.policy, units),
        unionScratch: unionScratch.subarray(0, units),
      }),
      places: [{ fileOffset: header.columns[index]![stage].offset, strideBytes, slotBytes: strideBytes, slotBase }],
      // Sums stand in `act` meanwhile.
      found: workspace.named,
      all: all.subarray(0, units),
      checksums: await readColumnChecksums(file, index, stage, signal),
      gap: { maxGapBytes: config.mergeGapBytes, gapPtr },
    });
    return new ColumnSums({ slots, stage: stages[stage], overlap: config.overlap, streamShare: config.streamShare });
  };
  const weights = loader.layer(arena, index);
  const [inputs, outputs] = [await sumsOf("inputs"), await sumsOf("outputs")];
  const ffn = new ColumnFfn({
    ...{ layer: index, kernels, workspace, geometry: geometry.ffn, dModel, biases: weights, inputs, outputs },
  });
  return { storage: "columns", index, geometry, context, weights, ffn };
}

async function placeLayer(
  parts: EngineParts,
  index: number,
  context: ArenaContext,
  slotBase: Ptr,
  loader: ResidentLoader,
  { all, reordered, unionScratch }: SharedByLayers,
): Promise<RecordLayer> {
  const { plan, file, reader, config, signal } = parts;
  const { dModel, layers } = file.header.geometry;
  const { records } = file.header;
  const layout = recordLayout(file.header);
  const geometry = layers[index]!;
  const { arena, kernels, workspace, gapPtr } = context;
  const weights = loader.layer(arena, index);
  const predictor = config.mode === "predicted" ? await loadPredictorLayer(parts, index, kernels) : null;
  const gate = hasResidentGate(file.header)
    ? new ResidentGate({ kernels, workspace, weight: loader.neuronGate(arena, index), bias: weights.gateBias })
    : null;
  const slotCount = plan.slotsByLayer[index]!;
  const { dFf } = geometry.ffn;
  const activation = activationOf(geometry.ffn);
  const biasOf = (all: Ptr) => (all === 0 ? null : { all, slots: arena.allocate(4 * slotCount) });
  const slots = new NeuronSlots({
    layer: index,
    kernels,
    workspace,
    reader,
    unit: "neuron",
    slotBytes: layout.slotBytes,
    places: neuronPlaces(records[index]!, layout, slotBase),
    // Nothing else uses it yet for the records that are checked.
    found: workspace.act,
    weights: layout,
    dModel,
    dFf,
    cache: createNeuronCache({
      dFf,
      slotCount,
      policy: cachePolicy(config.policy, dFf),
      unionScratch: unionScratch.subarray(0, dFf),
    }),
    slotBase,
    all: all.subarray(0, dFf),
    biases: { up: biasOf(weights.upBias), gate: gate ? null : biasOf(weights.gateBias) },
    gate,
    checksums: await readRecordChecksums(file, index, signal),
    gap: { maxGapBytes: config.mergeGapBytes, gapPtr },
  });
  const sparse = new SparseFfn({ slots, activation, reordered, overlap: config.overlap });
  const streamed = new StreamedFfn(slots, activation, context.stream, reordered);
  return { storage: "records", index, geometry, context, weights, predictor, slots, sparse, streamed };
}

async function loadPredictorLayer(
  { predictor, signal }: EngineParts,
  layer: number,
  kernels: Kernels,
): Promise<PlacedPredictor> {
  assert(predictor, "predicted mode has predictors");
  const read = "readLayer" in predictor ? await predictor.readLayer(layer, signal) : predictor.layers[layer]!;
  const { arena } = kernels;
  const mark = arena.mark();
  const placed = placePredictor(arena, read);
  kernels.put(mark, arena.mark() - mark);
  return placed;
}
