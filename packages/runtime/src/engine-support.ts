/** What the engine can run: which forms of a block, and which ways to choose neurons. */
import { leavesZeros, type ModelGeometry, UnsupportedError } from "@flashwick/core";
import type { NeuronMode } from "./engine-config.js";

/**
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a block of no known form, `UNSUPPORTED_ACTIVATION` where neurons are to be left out
 *   of a model in which none is ever zero.
 */
export function checkSupport(geometry: ModelGeometry, mode: NeuronMode): void {
  const { parallelBlock, ffnNorm, normBefore, positions, ropeTheta, headDim, activation } = geometry;
  if (parallelBlock && !normBefore)
    throw unknownForm("attention and FFN in parallel, with norms after the sum", geometry);
  if (!parallelBlock && !ffnNorm) throw unknownForm("an FFN after attention without a norm of its own", geometry);
  if (positions === "rotary" && (headDim % 2 !== 0 || ropeTheta === null)) {
    throw unknownForm(`rotary positions with heads of ${headDim} and base ${ropeTheta}`, geometry);
  }
  if (mode === "dense" || leavesZeros(activation)) return;
  throw new UnsupportedError(
    "UNSUPPORTED_ACTIVATION",
    `${activation} leaves no activation at zero, so no neuron can be left out in ${mode} mode; run dense, which streams all of them`,
    { details: { activation, mode } },
  );
}

function unknownForm(what: string, { architecture }: ModelGeometry): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `this ${architecture} model has ${what}, which no known model has; convert it again`,
  );
}
