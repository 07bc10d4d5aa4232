/** Thresholds of `cats` and `teal`, layer by layer: what a text's magnitudes exceed as often as a share of the units is to stay. */
import { InputError } from "@flashwick/core";
import { cutWindows } from "../evaluate.js";
import type { Model } from "../model.js";
import type { FfnPruner } from "./ffn-pruner.js";
import { MagnitudeHistogram } from "./magnitude-histogram.js";
import { PruningChooser } from "./pruning-chooser.js";
import type { PruningPlan } from "./pruning-plan.js";

/** Which part of the text is looked at. */
export interface MagnitudeOptions {
  /** Tokens of a window, BOS included; default 256. */
  readonly windowTokens?: number;
  /** Default 4. */
  readonly maxWindows?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Of one layer in the dense model: the FFN's input, its activations, and where there is a gate f(gate · x), else the activations again. */
export interface LayerMagnitudes {
  readonly inputs: MagnitudeHistogram;
  readonly activations: MagnitudeHistogram;
  readonly gates: MagnitudeHistogram;
}

/**
 * The magnitudes of a text in the dense model.
 *
 * @throws {InputError} `INPUT_INVALID` for a text shorter than one window. {UnsupportedError} as `computePruned`.
 * Cost: two dense passes over the windows.
 */
export async function recordMagnitudes(
  model: Model,
  text: string,
  { windowTokens = 256, maxWindows = 4, signal }: MagnitudeOptions = {},
): Promise<LayerMagnitudes[]> {
  const { bosTokenId, layers } = model.header.geometry;
  const windows = cutWindows(model.tokenizer.encode(text, false), windowTokens, bosTokenId).slice(0, maxWindows);
  if (windows.length === 0) {
    throw new InputError(
      "INPUT_INVALID",
      `the text is shorter than one window of ${windowTokens} tokens; give a longer text`,
    );
  }
  const magnitudes = layers.map(() => {
    const [inputs, activations, gates] = [new MagnitudeHistogram(), new MagnitudeHistogram(), new MagnitudeHistogram()];
    return { inputs, activations, gates };
  });
  for (const seesGates of [false, true]) {
    const chooser = new PruningChooser(onlooker(magnitudes, seesGates));
    for (const window of windows) {
      await model.withSequence(windowTokens, (sequence) => sequence.extend(window, { chooser, signal }), { signal });
    }
  }
  return magnitudes;
}

/** Leaves nothing out, and counts. */
function onlooker(magnitudes: readonly LayerMagnitudes[], seesGates: boolean): FfnPruner {
  return {
    seesGates,
    inputs(layer, x) {
      if (!seesGates) magnitudes[layer]!.inputs.add(x);
      return { units: null, scores: x.slice() };
    },
    outputs(layer, values) {
      magnitudes[layer]![seesGates ? "gates" : "activations"].add(values);
      return { units: null, scores: values.slice() };
    },
  };
}

/** The plan with which such a share of the recorded text's units stays: of `cats` neurons, of `teal` inputs and neurons alike. */
export function thresholdPlan(
  method: "cats" | "teal",
  magnitudes: readonly LayerMagnitudes[],
  share: number,
  source: string,
): PruningPlan {
  const above = (histogram: MagnitudeHistogram) => ({ rule: "above", threshold: histogram.threshold(share) }) as const;
  return {
    schemaVersion: 1,
    method,
    source: `${source}: ${share} of the units stay`,
    layers: magnitudes.map(({ inputs, activations, gates }) =>
      method === "cats"
        ? { inputs: { rule: "all" }, outputs: above(gates) }
        : { inputs: above(inputs), outputs: above(activations) },
    ),
  };
}
