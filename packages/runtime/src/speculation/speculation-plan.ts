/** What a request wants drafted and by whom; checked before anything is computed. */
import { InputError } from "@flashwick/core";
import type { Engine } from "../engine.js";
import { cacheDependence, type EngineConfig } from "../engine-config.js";
import type { GenerateOptions } from "../model-options.js";
import type { Drafter } from "./drafter.js";
import { LookupDrafter } from "./lookup-drafter.js";
import { SparseDrafter } from "./sparse-drafter.js";

export interface SpeculationPlan {
  /** The output is the dense model's. */
  readonly lossless: boolean;
  /** Null: one token a step. */
  readonly drafter: { readonly name: string; make(engine: Engine): Drafter } | null;
  /** A fixed number of drafts; null: as measured. */
  readonly draftTokens: number | null;
  /** … but at least so many: who asks for a drafter by name gets its drafts. A lossless run has none where they do not pay. */
  readonly leastDraftTokens: number;
}

/** @throws {InputError} `INPUT_INVALID` for wishes that exclude each other. */
export function planSpeculation(options: GenerateOptions, config: EngineConfig): SpeculationPlan {
  const { mode } = config;
  const { lossless = false, speculate = "off", draftTokens = "auto" } = options;
  const isOff = speculate === "off" && !lossless;
  if (draftTokens !== "auto" && !(Number.isInteger(draftTokens) && draftTokens >= 1)) {
    throw new InputError("INPUT_INVALID", `draftTokens is ${draftTokens}, expected an integer of at least 1, or auto`);
  }
  if (lossless && mode !== "predicted" && mode !== "pruned") {
    throw new InputError(
      "INPUT_INVALID",
      `a lossless run drafts with the sparse path, which needs a predictor or a pruning plan, but the mode is ${mode}; give one, or run without lossless: ` +
        `${mode} mode is exact already`,
    );
  }
  if (lossless && speculate !== "off") {
    throw new InputError(
      "INPUT_INVALID",
      "a lossless run drafts with the sparse path; leave out speculate, or lossless",
    );
  }
  const dependence = cacheDependence(config);
  // Drafts of a plan may be anybody's: the dense model verifies them.
  if (!isOff && dependence !== null && !(lossless && mode === "pruned")) {
    throw new InputError(
      "INPUT_INVALID",
      `with ${dependence} a token's output depends on what the cache holds, so drafts cannot be verified together; leave out either`,
    );
  }
  const fixed = draftTokens === "auto" ? null : draftTokens;
  if (isOff) return { lossless, drafter: null, draftTokens: null, leastDraftTokens: 0 };
  return {
    lossless,
    drafter: lossless ? SPARSE : drafterOf(speculate),
    draftTokens: fixed,
    leastDraftTokens: lossless || speculate === "auto" ? 0 : 1,
  };
}

const SPARSE = { name: "sparse", make: (engine: Engine) => new SparseDrafter(engine.chooser) };
const LOOKUP = { name: "lookup", make: () => new LookupDrafter() };

function drafterOf(speculate: Exclude<GenerateOptions["speculate"], undefined>): SpeculationPlan["drafter"] {
  if (speculate === "off") return null;
  if (speculate === "auto" || speculate === "lookup") return LOOKUP;
  if (typeof speculate === "string") {
    throw new InputError(
      "INPUT_INVALID",
      `speculate is ${JSON.stringify(speculate)}, expected off, auto, lookup or a drafter`,
    );
  }
  return { name: speculate.name, make: () => speculate };
}
