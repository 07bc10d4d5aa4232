/**
 * What a GGUF file of llama.cpp's says of its experts. How they are chosen is fixed by the architecture (forms.ts); llama.cpp reads the keys that could
 * say otherwise for other architectures only, so a file in which they do is refused: neither reading of it would be the model's.
 * Source: `load_hparams` in src/llama-model.cpp; `build_moe_ffn` in src/llama-graph.cpp.
 */
import { type Architecture, type ExpertsGeometry, UnsupportedError } from "@flashwick/core";
import { MAX_EXPERTS, MAX_GATING_FUNCTION, MAX_LAYERS, MAX_WIDTH } from "../geometry-limits.js";
import type { ArchitectureFields } from "./architecture-fields.js";
import type { ExpertsForm } from "./forms.js";

/** The experts of a model, all layers' alike. */
export interface ModelExperts {
  readonly geometry: ExpertsGeometry;
  /** Neurons of one. */
  readonly dFf: number;
  readonly form: ExpertsForm;
}

/**
 * @returns Null for a model with one FFN a layer.
 * @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID` naming the key. {UnsupportedError} `UNSUPPORTED_FEATURE` for experts that are chosen in
 *   another way, and where the architecture has none.
 */
export function expertsOf(fields: ArchitectureFields): ModelExperts | null {
  const form = fields.form.experts;
  if (!form || form.optional !== null) {
    const count = fields.optionalInteger("expert_count", MAX_EXPERTS) ?? 0;
    if (count === 0) return null;
    if (!form) throw unsupported(fields, `a mixture of ${count} experts in architecture ${fields.architecture}`);
  }
  checkChoice(fields, form);
  const count = fields.integer("expert_count", MAX_EXPERTS);
  const chosen = fields.integer("expert_used_count", MAX_EXPERTS);
  if (chosen > count) throw fields.invalid("expert_used_count", `at most expert_count, ${count}`, chosen);
  const { softmax, normalised, biases: bias } = form;
  const router = { softmax, normalised, bias };
  const geometry = { count, chosen, router, shared: sharedOf(fields, form) };
  return { geometry, dFf: widthOf(fields, form, chosen), form };
}

/** The name of a model of this architecture, with experts or without. */
export function architectureOf({ form }: ArchitectureFields, experts: ModelExperts | null): Architecture {
  return experts?.form.optional ?? form.architecture;
}

function sharedOf(fields: ArchitectureFields, { shared }: ExpertsForm): ExpertsGeometry["shared"] {
  if (!shared) return null;
  const own = fields.optionalInteger("expert_shared_feed_forward_length", MAX_WIDTH) ?? 0;
  return { dFf: own > 0 ? own : fields.integer("feed_forward_length", MAX_WIDTH), gated: true };
}

function widthOf(fields: ArchitectureFields, { width }: ExpertsForm, chosen: number): number {
  if (width === "layer") return fields.integer("feed_forward_length", MAX_WIDTH);
  if (width === "expert") return fields.integer("expert_feed_forward_length", MAX_WIDTH);
  const own = fields.optionalInteger("expert_feed_forward_length", MAX_WIDTH) ?? 0;
  if (own > 0) return own;
  const all = fields.integer("feed_forward_length", MAX_WIDTH);
  if (all % chosen === 0) return all / chosen;
  throw fields.invalid("feed_forward_length", `a multiple of expert_used_count, ${chosen}`, all);
}

/** `llama_expert_gating_func_type`, by number; what follows is not known here. */
const GATING_FUNCTIONS = ["none", "softmax", "sigmoid", "softmax of the chosen"];

function checkChoice(fields: ArchitectureFields, { softmax, normalised }: ExpertsForm): void {
  const groups = fields.optionalInteger("expert_group_count", MAX_EXPERTS) ?? 0;
  if (groups > 1) throw unsupported(fields, `experts in ${groups} groups, of which tokens choose first`);
  const gating = fields.optionalInteger("expert_gating_func", MAX_GATING_FUNCTION) ?? 0;
  if (gating !== 0 && gating !== (softmax === "all" ? 1 : 3)) {
    throw unsupported(fields, `experts weighted by ${GATING_FUNCTIONS[gating] ?? `function ${gating}`}`);
  }
  const scale = fields.optionalNumber("expert_weights_scale") ?? 1;
  if (scale !== 1) throw unsupported(fields, `experts' weights times ${scale}`);
  const isNormalised = fields.optionalBool("expert_weights_norm") ?? normalised;
  if (isNormalised !== normalised) {
    throw unsupported(fields, `experts' weights ${isNormalised ? "" : "not "}divided by their sum`);
  }
  const dense = fields.optionalInteger("leading_dense_block_count", MAX_LAYERS) ?? 0;
  if (dense > 0) throw unsupported(fields, `${dense} layers without experts before those with them`);
}

function unsupported({ metadata, architecture }: ArchitectureFields, what: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${metadata.fileName}: ${what}; mixtures run as Mixtral (llama), olmoe, qwen2moe, qwen3moe and gpt-oss have them`,
    { details: { architecture } },
  );
}
