/** What the engine can run: which forms of a block, and which ways to choose neurons. */
import {
  hasResidentGate,
  hasSameForm,
  isSparse,
  type LayerGeometry,
  type ModelGeometry,
  UnsupportedError,
} from "@flashwick/core";
import type { ModelHeader } from "@flashwick/flash-format";
import type { NeuronMode } from "./engine-config.js";

/**
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a block of no known form, `UNSUPPORTED_ACTIVATION` where neurons are to be left out
 *   of a model in which none is ever zero. `UNSUPPORTED_FEATURE` too where gates are to name neurons, and are not resident.
 */
export function checkSupport(header: Pick<ModelHeader, "geometry" | "weights">, mode: NeuronMode): void {
  const { geometry } = header;
  const first = geometry.layers[0]!;
  if (!geometry.layers.every((layer) => hasSameForm(layer, first)))
    throw unknownForm("layers of several forms", geometry);
  for (const layer of new Set(geometry.layers)) checkLayer(layer, geometry);
  // What a plan leaves out need not be zero.
  if (mode === "dense" || mode === "pruned") return;
  if (isSparse(geometry)) {
    if (mode !== "gate-first" || hasResidentGate(header)) return;
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "gate-first mode: expected a file with resident gates, found none; convert a model of gated neurons with --gate-first, or run it otherwise",
      { details: { mode } },
    );
  }
  const { activation } = first.ffn;
  throw new UnsupportedError(
    "UNSUPPORTED_ACTIVATION",
    `${activation} leaves no activation at zero, so no neuron can be left out in ${mode} mode; run dense, which streams all of them`,
    { details: { activation, mode } },
  );
}

function checkLayer({ attention, norms, parallel }: LayerGeometry, geometry: ModelGeometry): void {
  if (parallel && (norms.attentionSum || norms.ffnSum))
    throw unknownForm("attention and FFN in parallel, with norms after the sum", geometry);
  if (!parallel && norms.beforeAttention && !norms.beforeFfn)
    throw unknownForm("an FFN after attention without a norm of its own", geometry);
  const { rotary, headDim } = attention;
  if (rotary && (rotary.dims % 2 !== 0 || rotary.dims > headDim || !(rotary.theta > 0))) {
    throw unknownForm(`rotary positions with heads of ${headDim} and base ${rotary.theta}`, geometry);
  }
}

function unknownForm(what: string, { architecture }: ModelGeometry): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `this ${architecture} model has ${what}, which no known model has; convert it again`,
  );
}
