/**
 * One layer's FFN without what a pruner leaves out, over weights that are all in DRAM: inputs that are left out are zeros of x, neurons that are
 * left out are zeros of h, and a zero adds nothing. So the sums are those of the columns that stay, in their order, and whoever keeps all has the
 * dense model's bits. Blocks of ggml round an activation by the largest of its group: there a zero may round its neighbours otherwise.
 */
import { activationOf, paddedLength, UnsupportedError } from "@flashwick/core";
import { gateRowOf, type NeuronGate, type Ptr, type SlotMatrix } from "@flashwick/kernels";
import type { ColumnLayer, EngineLayer, MatrixLayer, RecordLayer } from "../engine-layer.js";
import type { StreamPass } from "../layer-matrices.js";
import type { TokenMeter } from "../token-meter.js";
import type { FfnPruner } from "./ffn-pruner.js";

/** What a step asks of the FFN. */
export interface PrunedPass extends StreamPass {
  /** Sees h of all neurons, f32 `[nTokens, pad(dFf)]` in the arena, beside those that each token keeps, before the others become zero. */
  readonly onActivations?: ((act: Ptr, sets: readonly Uint32Array[]) => void) | undefined;
}

/**
 * blockOut += the FFN of each token over what it keeps, without the bias of down.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a mixture of experts, or records that are not all in DRAM.
 * Cost: the dense layer's arithmetic.
 */
export async function computePruned(
  layer: Exclude<EngineLayer, ColumnLayer>,
  dModel: number,
  pruner: FfnPruner,
  pass: PrunedPass,
): Promise<void> {
  if (layer.storage === "experts") throw isMixture(layer.index);
  const { meter, nTokens } = pass;
  meter.counters.named += nTokens * layer.geometry.ffn.dFf;
  meter.enter("predict");
  const x = await maskInputs(layer, dModel, nTokens, pruner);
  if (layer.storage === "matrices") await computeMatrices(layer, x, pruner, pass);
  else await computeRecords(layer, x, pruner, pass);
}

/** A copy of the FFN's input with zeros for what each token leaves out, where attention's output is not needed any more. */
async function maskInputs(
  { context, index }: MatrixLayer | RecordLayer,
  dModel: number,
  nTokens: number,
  pruner: FfnPruner,
): Promise<Ptr> {
  const { kernels, workspace } = context;
  const { ffnInput, mixed } = workspace;
  const rowLength = paddedLength(dModel);
  await kernels.take(ffnInput, 4 * nTokens * rowLength);
  const masked = kernels.arena.f32(mixed, nTokens * rowLength);
  masked.set(kernels.arena.f32(ffnInput, nTokens * rowLength));
  for (const row of rowsOf(masked, rowLength, dModel)) keepOnly(row, pruner.inputs(index, row).units);
  kernels.put(mixed, 4 * nTokens * rowLength);
  return mixed;
}

async function computeMatrices(layer: MatrixLayer, x: Ptr, pruner: FfnPruner, pass: PrunedPass): Promise<void> {
  const { streamed, weights, geometry, context } = layer;
  const { kernels, workspace: w } = context;
  const { dFf, gated } = geometry.ffn;
  const activation = activationOf(geometry.ffn);
  const count = pass.nTokens * paddedLength(dFf);
  let gates: Float32Array | null = null;
  pass.meter.enter("ffn");
  if (gated) {
    await streamed.multiply("gate", w.gate, x, weights.gateBias, pass);
    if (pruner.seesGates) {
      // Beside ones the gate is by itself.
      kernels.arena.f32(w.act, count).fill(1);
      kernels.put(w.act, 4 * count);
      kernels.gate(w.act, w.gate, w.act, count, activation);
      gates = await copied(layer, count);
    }
  }
  await streamed.multiply("up", w.act, x, weights.upBias, pass);
  // Without a gate up takes its place, beside ones.
  const [gate, up] = gated ? [w.gate, w.act] : [w.act, w.gate];
  kernels.gate(w.act, gate, up, count, activation);
  await maskOutputs(layer, gates, pruner, pass);
  pass.meter.enter("ffn");
  await streamed.multiply("down", w.blockOut, w.act, 0, pass);
}

async function computeRecords(layer: RecordLayer, x: Ptr, pruner: FfnPruner, pass: PrunedPass): Promise<void> {
  const { slots, geometry, context } = layer;
  const { kernels, workspace: w } = context;
  const { dFf } = geometry.ffn;
  const { nTokens, meter } = pass;
  const activation = activationOf(geometry.ffn);
  await bringAll(layer, meter, pass.signal);
  meter.enter("ffn");
  const { gate } = slots.parts;
  await gate?.compute(x, nTokens);
  const gates = pruner.seesGates ? await gatesAlone(layer, x, nTokens) : null;
  gate?.give(dFf, nTokens, 0, dFf, (i) => i);
  kernels.ffnUp(w.act, x, slots.matrix, w.slots, dFf, nTokens, activation, w.scratch);
  await maskOutputs(layer, gates, pruner, pass);
  meter.enter("ffn");
  kernels.ffnDown(w.blockOut, w.act, slots.matrix, w.slots, dFf, nTokens);
}

/** f(gate · x) of all neurons, by itself; null of neurons without a gate. A resident one is computed already. */
async function gatesAlone(layer: RecordLayer, x: Ptr, nTokens: number): Promise<Float32Array | null> {
  const { slots, geometry, context } = layer;
  const { kernels, workspace: w } = context;
  const { dFf } = geometry.ffn;
  const count = nTokens * paddedLength(dFf);
  const alone = { ...activationOf(geometry.ffn), up: "none" } as const;
  const row = gateRowOf(slots.matrix);
  if (row) kernels.ffnUp(w.act, x, asUpRows(slots.matrix, row), w.slots, dFf, nTokens, alone, w.scratch);
  else if (slots.matrix.gate === "given") {
    // Beside ones the gate is by itself.
    kernels.arena.f32(w.act, count).fill(1);
    kernels.put(w.act, 4 * count);
    kernels.gate(w.act, w.gate, w.act, count, alone);
  } else return null;
  return await copied(layer, count);
}

/** The gates as the up rows of neurons without one. Their scale stands in front. */
function asUpRows(matrix: SlotMatrix, { offsetBytes, bias }: NeuronGate): SlotMatrix {
  return { ...matrix, upOffsetBytes: offsetBytes, bias, gate: null };
}

/**
 * Reads what the layer's slots lack, which is nothing after the first token, and lists all of them in the order of neurons.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where the layer has fewer slots than neurons.
 */
export async function bringAll({ slots, index }: RecordLayer, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
  const { cache, all, dFf, kernels, workspace } = slots.parts;
  if (cache.slotCount < dFf) throw isNotInDram(index, cache.slotCount, dFf);
  meter.enter("cache");
  try {
    for (const wave of cache.admit(all)) await slots.readWave(wave, meter, signal);
  } catch (error) {
    // The cache has them already, and nothing has brought them.
    cache.clear();
    throw error;
  }
  const list = kernels.arena.u32(workspace.slots, dFf);
  for (let neuron = 0; neuron < dFf; neuron++) list[neuron] = cache.slotOf(neuron);
  kernels.put(workspace.slots, 4 * dFf);
}

/** Zeros in `workspace.act` for the neurons that each token leaves out. */
async function maskOutputs(
  { context, geometry, index }: MatrixLayer | RecordLayer,
  gates: Float32Array | null,
  pruner: FfnPruner,
  { nTokens, meter, onActivations }: PrunedPass,
): Promise<void> {
  const { kernels, workspace } = context;
  const { dFf } = geometry.ffn;
  const rowLength = paddedLength(dFf);
  const bytes = 4 * nTokens * rowLength;
  await kernels.take(workspace.act, bytes);
  meter.enter("predict");
  const act = kernels.arena.f32(workspace.act, nTokens * rowLength);
  const seen = gates ?? act;
  const rows = rowsOf(act, rowLength, dFf);
  const chosen = rows.map(
    (_, t) => pruner.outputs(index, seen.subarray(t * rowLength, t * rowLength + dFf)).units ?? everyUnit(dFf),
  );
  onActivations?.(workspace.act, chosen);
  for (const [t, row] of rows.entries()) keepOnly(row, chosen[t]!);
  kernels.put(workspace.act, bytes);
}

async function copied({ context }: MatrixLayer | RecordLayer, count: number): Promise<Float32Array> {
  const { kernels, workspace } = context;
  await kernels.take(workspace.act, 4 * count);
  return kernels.arena.f32(workspace.act, count).slice();
}

function rowsOf(values: Float32Array, rowLength: number, width: number): Float32Array[] {
  return Array.from({ length: values.length / rowLength }, (_, t) =>
    values.subarray(t * rowLength, t * rowLength + width),
  );
}

function everyUnit(units: number): Uint32Array {
  return Uint32Array.from({ length: units }, (_, unit) => unit);
}

/** Sets what is not in an ascending set to zero; null keeps everything. */
function keepOnly(row: Float32Array, set: Uint32Array | null): void {
  if (!set) return;
  let next = 0;
  for (let i = 0; i < row.length; i++) {
    if (set[next] === i) next++;
    else row[i] = 0;
  }
}

function isMixture(layer: number): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `layer ${layer} is of a mixture of experts, which pruning leaves alone; its router chooses already`,
    { details: { layer } },
  );
}

function isNotInDram(layer: number, slotCount: number, dFf: number): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `layer ${layer} has slots for ${slotCount} of its ${dFf} neurons, and a pruned FFN needs all of them in DRAM; raise dramBudgetBytes`,
    { details: { layer, slotCount, dFf } },
  );
}
