/** Rotary positions in config.json: base, share of a head, and `rope_scaling` by its kinds. Source: transformers 4.57, modeling_rope_utils.py. */
import { type RotaryGeometry, type RotaryScaling, showValue, UnsupportedError } from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT } from "../../geometry-limits.js";
import { checkDocument } from "../checkpoint-document.js";
import { sizeField } from "./config-fields.js";

/** A number above zero. */
export const positiveField = v.pipe(v.number(), v.finite(), v.gtValue(0));

const kindOf = v.looseObject({ rope_type: v.optional(v.string()), type: v.optional(v.string()) });
const linear = v.looseObject({ factor: positiveField });
const llama3 = v.looseObject({
  factor: positiveField,
  low_freq_factor: positiveField,
  high_freq_factor: positiveField,
  original_max_position_embeddings: sizeField(MAX_CONTEXT),
});
const yarn = v.looseObject({
  factor: positiveField,
  original_max_position_embeddings: v.nullish(sizeField(MAX_CONTEXT)),
  beta_fast: v.nullish(positiveField),
  beta_slow: v.nullish(positiveField),
  attention_factor: v.nullish(positiveField),
  truncate: v.nullish(v.boolean()),
  mscale: v.optional(v.unknown()),
  mscale_all_dim: v.optional(v.unknown()),
});

/** What of config.json a rotation follows from. */
export interface RotaryFields {
  readonly theta: number;
  readonly headDim: number;
  /** Of a head, what is turned. */
  readonly share?: number;
  readonly scaling: unknown;
  readonly contextLength: number;
}

/**
 * A rotation of halves, as every Hugging Face checkpoint has it.
 *
 * @throws {FormatError} `CHECKPOINT_CONFIG`. {UnsupportedError} `UNSUPPORTED_FEATURE` for scaling of another kind, or an odd number of dimensions.
 */
export function readRotary({ theta, headDim, share = 1, ...rest }: RotaryFields, where: string): RotaryGeometry {
  const dims = Math.floor(headDim * share);
  if (dims % 2 !== 0 || dims < 2 || dims > headDim) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${where}: ${dims} of ${headDim} dimensions of a head are rotated, expected an even number; the checkpoint does not match its family`,
      { details: { file: where, dims, headDim } },
    );
  }
  return { theta, dims, pairs: "halves", scaling: readScaling(rest.scaling, rest.contextLength, where) };
}

function readScaling(value: unknown, contextLength: number, where: string): RotaryScaling | null {
  if (value === undefined || value === null) return null;
  const field = <const TSchema extends v.GenericSchema>(schema: TSchema): v.InferOutput<TSchema> => {
    return checkDocument(schema, value, `${where}: field rope_scaling`, "CHECKPOINT_CONFIG");
  };
  const named = field(kindOf);
  const kind = named.rope_type ?? named.type ?? "default";
  if (kind === "default") return null;
  if (kind === "linear") return { kind, factor: field(linear).factor };
  if (kind === "llama3") {
    const found = field(llama3);
    return {
      ...{ kind, factor: found.factor, originalContext: found.original_max_position_embeddings },
      ...{ lowFrequencyFactor: found.low_freq_factor, highFrequencyFactor: found.high_freq_factor },
    };
  }
  if (kind === "yarn") {
    const found = field(yarn);
    if (found.mscale === undefined && found.mscale_all_dim === undefined) {
      return {
        ...{ kind, factor: found.factor, betaFast: found.beta_fast ?? 32, betaSlow: found.beta_slow ?? 1 },
        originalContext: found.original_max_position_embeddings ?? contextLength,
        attentionFactor: found.attention_factor ?? (found.factor <= 1 ? 1 : 0.1 * Math.log(found.factor) + 1),
        truncate: found.truncate ?? true,
      };
    }
  }
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${where}: field rope_scaling: expected default, linear, llama3 or yarn without mscale, found ${showValue(value)}; convert another checkpoint`,
    { details: { file: where, field: "rope_scaling" } },
  );
}
