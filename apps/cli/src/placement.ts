/** The placement step of `flashwick convert`: an order of neurons on flash from a recorded trace, if it reads faster. */
import { InputError, neuronGrid, type Predictor } from "@flashwick/core";
import { DEVICE_PRESETS, type DeviceProfile, devicePreset } from "@flashwick/cost-model";
import { type NeuronTrace, placeTrace } from "@flashwick/dram-cache/simulate";
import { planHeader, recordLayout, sidecarPath, writePredictorFile } from "@flashwick/flash-format";
import type { ConversionResult } from "@flashwick/flash-format/convert";
import { fileSink } from "@flashwick/flash-format/node";
import { reorderPredictor } from "@flashwick/predictor";
import { choosePlacement, type PlacementChoice, prunedTrace } from "@flashwick/runtime";
import { readKeptProfile } from "@flashwick/runtime/node/estimate";
import type { FileConversionOptions } from "./conversion.js";
import { readPredictor } from "./predictor-output.js";
import { readForm } from "./source-form.js";
import { readTrace } from "./trace-file.js";
import { traceStatistics } from "./trace-statistics.js";

export interface PlacementWish {
  readonly trace: string;
  /** Slots of a layer's cache, as a share of its neurons. */
  readonly slots: number;
  /** Null: what is kept of this machine, else a preset. */
  readonly device: DeviceProfile | null;
}

/** What the step came to. */
export interface PlacementResult extends PlacementChoice {
  readonly device: string;
  readonly slots: number;
  readonly trace: NeuronTrace;
}

/** Reads in flight that the held-out trace is timed with. */
const READERS = 16;
const DEFAULT_PRESET = "nvme-pcie4";

/**
 * @param kept By layer, the neurons that stay where others are left out: the order is of those, by their numbers among them. Null: all.
 * @throws {InputError} for a trace of another shape than the checkpoint, or too short. {FormatError} for a damaged one.
 */
export async function planPlacement(
  from: string,
  output: string,
  { trace: path, slots: share, device }: PlacementWish,
  form: Pick<FileConversionOptions, "dtype" | "layout" | "stride">,
  kept: readonly Uint32Array[] | null = null,
): Promise<PlacementResult> {
  const recorded = await readTrace(path);
  const { geometry, dtype } = await readForm(from);
  const { nLayers, dFf } = neuronGrid(geometry);
  if (recorded.nLayers !== nLayers || recorded.dFf !== dFf) {
    const message = `${path}: ${recorded.nLayers} layers of ${recorded.dFf} neurons, expected the checkpoint's ${nLayers} of ${dFf}`;
    throw new InputError("INPUT_INVALID", message, { details: { file: path } });
  }
  const trace = kept ? prunedTrace(recorded, kept) : recorded;
  const planned = planHeader(geometry, {
    dtype: form.dtype ?? dtype ?? "f16",
    ...(form.layout ? { layout: form.layout } : {}),
    ...(form.stride ? { strideBytes: form.stride } : {}),
  });
  const weights = recordLayout(planned);
  const profile = device ?? readKeptProfile(output) ?? devicePreset(DEFAULT_PRESET);
  const slots = Math.max(1, Math.round(share * trace.dFf));
  const choice = choosePlacement(trace, {
    slots,
    strideBytes: weights.strideBytes,
    readsPerNeuron: weights.layout === "split" ? 2 : 1,
    mergeGapBytes: 0,
    device: { profile, readers: READERS },
  });
  return { ...choice, device: profile.name, slots, trace };
}

export const DEVICE_TEXT = `a published device (default: what flashwick profile has kept of this machine, else ${DEFAULT_PRESET}): ${DEVICE_PRESETS.join(", ")}`;

/**
 * The predictor of the unplaced model, made one of the placed file, beside it.
 *
 * @returns Its path.
 */
export async function writePlacedPredictor(
  from: string,
  output: string,
  { placement, trace }: PlacementResult,
  { fingerprint }: ConversionResult,
  force: boolean,
): Promise<string> {
  const path = sidecarPath(output);
  const sink = await fileSink(path, { force });
  try {
    const predictor = await readPredictor(from);
    await writePredictorFile(sink, placement ? reorder(predictor, placement, fingerprint, trace) : predictor);
    return path;
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}

function reorder(
  predictor: Predictor,
  placement: readonly Uint32Array[],
  fingerprint: string,
  trace: NeuronTrace,
): Predictor {
  const statistics = traceStatistics(placeTrace(trace, placement), trace.dFf, "the trace of the placement");
  return reorderPredictor(predictor, placement, fingerprint, statistics);
}
