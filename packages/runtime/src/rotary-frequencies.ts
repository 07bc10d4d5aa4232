/**
 * Frequencies of rotary positions, and how they are stretched for long texts: f32 where transformers has f32, so that angles are those that models
 * were trained and measured with.
 *
 * Source: transformers 4.57, `modeling_rope_utils.py`.
 */
import { assert, type RotaryGeometry, type RotaryScaling } from "@flashwick/core";

export interface RotaryFrequencies {
  /** Angle by which pair i turns from one position to the next, `[dims / 2]`. */
  readonly frequencies: Float32Array;
  /** Cosines and sines are multiplied by this; 1 but for YaRN. */
  readonly magnitude: number;
}

/** theta^(−2i / dims) for pair i, as the scaling stretches it. */
export function rotaryFrequencies({ theta, dims, scaling }: RotaryGeometry): RotaryFrequencies {
  const stretch = scaling === null ? (frequency: number) => frequency : stretchOf(scaling, theta, dims);
  const frequencyOf = (i: number) => Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / dims)));
  const frequencies = Float32Array.from({ length: dims / 2 }, (_, i) => stretch(frequencyOf(i), i));
  return { frequencies, magnitude: scaling?.kind === "yarn" ? scaling.attentionFactor : 1 };
}

function stretchOf(scaling: RotaryScaling, theta: number, dims: number): (frequency: number, i: number) => number {
  switch (scaling.kind) {
    case "linear":
      return (frequency) => frequency / scaling.factor;
    case "factors":
      assert(scaling.factors.length === dims / 2, "a factor for each pair");
      return (frequency, i) => frequency / scaling.factors[i]!;
    case "llama3":
      return (frequency) => llama3(frequency, scaling);
    case "yarn":
      return yarn(scaling, theta, dims);
  }
}

/** Wavelengths longer than the original context over `low` are stretched, those shorter than it over `high` are not. */
function llama3(frequency: number, scaling: Extract<RotaryScaling, { kind: "llama3" }>): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
  const turns = (originalContext * frequency) / (2 * Math.PI);
  if (turns > high) return frequency;
  if (turns < low) return frequency / factor;
  const share = (turns - low) / (high - low);
  return frequency * ((1 - share) / factor + share);
}

/** Pairs that turn more than `betaFast` times in the original context stay, those with less than `betaSlow` turns are stretched. */
function yarn(scaling: Extract<RotaryScaling, { kind: "yarn" }>, theta: number, dims: number) {
  const { factor, betaFast, betaSlow, originalContext, truncate } = scaling;
  /** The pair that turns so often, a real number. */
  const pairOf = (turns: number) => (dims * Math.log(originalContext / (2 * Math.PI * turns))) / (2 * Math.log(theta));
  const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const high = Math.min(truncate ? Math.ceil(slow) : slow, dims - 1);
  // As transformers does where both are the same: a step instead of a division by zero.
  const width = high === low ? 0.001 : high - low;
  return (frequency: number, i: number) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / width));
    return (ramp * frequency) / factor + (1 - ramp) * frequency;
  };
}
