/**
 * Which experts a step uses: those that the model's routers choose, or, inexactly, fewer of them, or others that DRAM holds.
 *
 * Fewer experts are the same whatever is resident, so that batches and single tokens agree. A preference for resident ones depends on what the cache holds:
 * it is for steps of one token, and what comes after it must not be taken for the model's own keys and values.
 */
import { type ExpertsGeometry, hasExperts, InputError, type ModelGeometry } from "@flashwick/core";
import { ALL_NEURONS, type Chooser, type ExpertChoice } from "./chooser.js";
import type { EngineConfig } from "./engine-config.js";
import { preferResident } from "./resident-experts.js";
import { largestLogits, routeToken, type TokenRoute, weighExperts } from "./router.js";

/** The choice that changes nothing. */
export const AS_ROUTED: ExpertChoice = { perToken: null, preference: null };

/** What a token uses, and what it would use as the model has it: one and the same in an exact step. */
export interface ChosenRoute {
  readonly used: TokenRoute;
  readonly wanted: TokenRoute;
}

/** Of a mixture: every layer, and in each the experts of a choice that is not the routers' own. */
export class ExpertChooser implements Chooser {
  readonly exact = false;
  readonly experts: ExpertChoice;

  constructor(experts: ExpertChoice) {
    this.experts = experts;
  }

  choose(): "all" {
    return "all";
  }
}

/** Who chooses while decoding, as the configuration says, for a model that is no matter of neurons. */
export function expertChooser(geometry: Pick<ModelGeometry, "layers">, config: EngineConfig): Chooser {
  const { residentMargin, routerKeep, expertsPerToken } = config;
  if (!hasExperts(geometry)) return ALL_NEURONS;
  const preference = residentMargin > 0 ? { lambda: residentMargin, alwaysKept: routerKeep } : null;
  const perToken = perTokenOf(geometry, expertsPerToken);
  return preference || perToken !== null ? new ExpertChooser({ perToken, preference }) : ALL_NEURONS;
}

/** The same without what depends on the cache: for prompts and batches. */
export function promptChooser(chooser: Chooser): Chooser {
  if (!(chooser instanceof ExpertChooser)) return ALL_NEURONS;
  const { perToken, preference } = chooser.experts;
  if (preference === null) return chooser;
  return perToken === null ? ALL_NEURONS : new ExpertChooser({ perToken, preference: null });
}

/** Null where no layer chooses more. */
function perTokenOf({ layers }: Pick<ModelGeometry, "layers">, expertsPerToken: number | null): number | null {
  const isFewer = layers.some(({ experts }) => expertsPerToken !== null && (experts?.chosen ?? 0) > expertsPerToken);
  return isFewer ? expertsPerToken : null;
}

/**
 * One token's experts in a layer.
 *
 * @param logits Of the router, f32 `[count]`. @param isResident Of an expert of the layer.
 * @throws {IntegrityError} `INTEGRITY_ROUTER`, as {@link routeToken}.
 * Cost: O(count · chosen), with a preference O(count · log count).
 */
export function chooseExperts(
  logits: Float32Array,
  geometry: ExpertsGeometry,
  layer: number,
  { perToken, preference }: ExpertChoice,
  isResident: (expert: number) => boolean,
): ChosenRoute {
  const wanted = routeToken(logits, geometry, layer);
  const k = Math.min(geometry.chosen, perToken ?? geometry.chosen);
  if (preference === null && k === geometry.chosen) return { used: wanted, wanted };
  const experts = preference ? preferResident(logits, k, isResident, preference) : largestLogits(logits, k, layer);
  return { used: weighExperts(logits, experts, geometry), wanted };
}

/** @throws {InputError} `INPUT_INVALID` for a number of experts that the model's routers do not reach, or of a model without. */
export function checkExpertsPerToken({ layers }: Pick<ModelGeometry, "layers">, expertsPerToken: number | null): void {
  if (expertsPerToken === null) return;
  const most = Math.max(0, ...layers.map(({ experts }) => experts?.chosen ?? 0));
  if (Number.isInteger(expertsPerToken) && expertsPerToken >= 1 && expertsPerToken <= most) return;
  const expected =
    most === 0
      ? "none: the model is no mixture of experts"
      : `an integer from 1 to the ${most} that its routers choose`;
  throw new InputError("INPUT_INVALID", `expertsPerToken is ${expertsPerToken}, expected ${expected}`, {
    details: { expertsPerToken, most },
  });
}
