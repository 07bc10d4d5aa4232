/**
 * The pruning step of `flashwick convert`: the neurons that a calibration text hardly uses are left out of the file,
 * and of its predictor.
 */
import { neuronCount, type Predictor } from "@flashwick/core";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import { ALIGNMENT_BYTES, planHeader, sidecarPath, writePredictorFile } from "@flashwick/flash-format";
import type { ConversionResult, NeuronPruning } from "@flashwick/flash-format/convert";
import { fileSink } from "@flashwick/flash-format/node";
import { prunePredictor, requirePredictorOf } from "@flashwick/predictor";
import { choosePruning, prunedTrace } from "@flashwick/runtime";
import type { FileConversionOptions } from "./conversion.js";
import type { PlacementResult } from "./placement.js";
import { readPredictor } from "./predictor-output.js";
import { readForm, type SourceForm } from "./source-form.js";
import { readHashedTrace } from "./trace-file.js";
import { traceStatistics } from "./trace-statistics.js";

/** By default the file becomes smaller by this share. At half as much again opt-demo loses many times the quality (0042). */
export const DEFAULT_SHRINKAGE = 0.1;
/** Of a neuron in the table of those that stay. */
const TABLE_BYTES = 4;

export interface PruningWish {
  readonly trace: string;
  readonly share: number | null;
  /** Of the model with all neurons; null: none is to be pruned alike. */
  readonly predictor: string | null;
}

type PrunedForm = Pick<FileConversionOptions, "dtype" | "layout" | "stride" | "residentDtype" | "gateDtype">;

/** What stays, and the trace that chose. */
export interface PruningResult extends NeuronPruning {
  readonly trace: string;
  readonly recorded: NeuronTrace;
  /** Of the model with all neurons. */
  readonly predictor: Predictor | null;
}

/**
 * Decides which neurons stay.
 *
 * @param wish Its share is of all neurons, to be left out; null: as many as make the file smaller by {@link
 * DEFAULT_SHRINKAGE}.
 * @throws {InputError} for a share out of range, a trace of another shape, one that does not say what neurons add, or a
 * layer that would be empty.
 * {FormatError} for a damaged one. {IntegrityError} `INTEGRITY_FINGERPRINT` for a predictor that is not of the trace's
 * model.
 */
export async function planPruning(
  from: string,
  { trace: path, share, predictor: predictorPath }: PruningWish,
  form: PrunedForm,
): Promise<PruningResult> {
  const { trace: recorded, hash } = await readHashedTrace(path);
  const source = await readForm(from);
  const kept = choosePruning(source.geometry, recorded, share ?? defaultShare(source, form), path);
  const traceOf = recorded.origin!.fingerprint;
  const predictor = predictorPath === null ? null : await readPredictor(predictorPath);
  if (predictor) requirePredictorOf(predictor, traceOf);
  return { kept, trace: hash, traceOf, recorded, predictor };
}

/** The neurons that stay, in the order that was chosen for them. */
export function placedPruning(
  pruning: PruningResult,
  { placement }: Pick<PlacementResult, "placement">,
): PruningResult {
  if (!placement) return pruning;
  const kept = pruning.kept.map((neurons, layer) =>
    // An order is as wide as the widest layer.
    placement[layer]!.filter((at) => at < neurons.length).map((at) => neurons[at]!),
  );
  return { ...pruning, kept };
}

/** The share of neurons whose records are {@link DEFAULT_SHRINKAGE} of the file. */
function defaultShare({ geometry, dtype, tokenizerBytes }: SourceForm, form: PrunedForm): number {
  const { fileBytes, weights } = planHeader(geometry, {
    dtype: form.dtype ?? dtype ?? "f16",
    residentDtype: form.residentDtype ?? null,
    gateDtype: form.gateDtype ?? null,
    ...(form.layout ? { layout: form.layout } : {}),
    ...(form.stride ? { strideBytes: form.stride } : {}),
  });
  const neurons = neuronCount(geometry);
  // Between one layer's records, or table, and the next.
  const ends = 2 * ALIGNMENT_BYTES * geometry.layers.length;
  const wanted = DEFAULT_SHRINKAGE * (fileBytes + tokenizerBytes) + TABLE_BYTES * neurons + ends;
  return Math.ceil(wanted / weights.slotBytes) / neurons;
}

/**
 * The predictor of the model with all neurons, pruned alike, beside the pruned file.
 *
 * @returns Its path.
 */
export async function writePrunedPredictor(
  predictor: Predictor,
  output: string,
  { kept, recorded }: PruningResult,
  { fingerprint, pruned }: ConversionResult,
  force: boolean,
): Promise<string> {
  const model = { fingerprint, from: pruned!.from };
  const path = sidecarPath(output);
  const widths = kept.map(({ length }) => length);
  const statistics = recorded.origin!.named
    ? traceStatistics(prunedTrace(recorded, kept), widths, "the trace of the pruning")
    : null;
  const result = prunePredictor(predictor, kept, model, statistics);
  const sink = await fileSink(path, { force });
  await writePredictorFile(sink, result);
  return path;
}
