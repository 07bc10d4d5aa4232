/**
 * What is left out of each layer's FFN, as data: a method, and a rule for each of its two stages in every layer. A plan is a small JSON document,
 * made by calibration (calibrate-pruning.ts) or from shares, and checked when it is loaded, since people edit it.
 *
 *     { "schemaVersion": 1, "method": "dip", "source": "calibration.txt, KL 0.05", "layers": [
 *       { "inputs": { "rule": "top", "share": 0.6 }, "outputs": { "rule": "top", "share": 0.4 } }, … ] }
 */
import { InputError, type ModelGeometry, showValue } from "@flashwick/core";

/**
 * How neurons are judged, and what is read for a token. Inputs are always judged by |x|.
 *
 * `oracle`: by |h_i| · ‖down_i‖ of all neurons, which nobody knows before reading them: what a perfect predictor would name.
 * `cats` (Lee et al., 2024): by |f(gate_i · x)|. The gate is read whole, then up and down of what it names.
 * `teal` (Liu et al., 2024) and `dip` (Federici et al., 2024): by |h_i|, after inputs have been left out. Columns of gate and up, then columns of down.
 * `dip-norms`: the same columns, with inputs weighted by the norms of their columns of gate and up, and neurons by ‖down_i‖.
 */
export const PRUNING_METHODS = ["oracle", "cats", "teal", "dip", "dip-norms"] as const;
/** One of {@link PRUNING_METHODS}. */
export type PruningMethod = (typeof PRUNING_METHODS)[number];

/** What stays of a stage's units: all, the largest of them (a share above 0), or those above a threshold. */
export type PruningRule =
  | { readonly rule: "all" }
  | { readonly rule: "top"; readonly share: number }
  | { readonly rule: "above"; readonly threshold: number };

/** Both stages of a layer. */
export interface LayerPruning {
  readonly inputs: PruningRule;
  readonly outputs: PruningRule;
}

/** A method with its rules by layer. */
export interface PruningPlan {
  readonly schemaVersion: 1;
  readonly method: PruningMethod;
  /** Where the rules come from, for people. */
  readonly source: string;
  readonly layers: readonly LayerPruning[];
}

/** The rule of a share of the units; 1 keeps all. */
export function topShare(share: number): PruningRule {
  return { rule: "top", share };
}

/** How many of so many units the largest share is; at least one. */
export function unitsOfShare(share: number, units: number): number {
  return Math.max(1, Math.round(share * units));
}

/**
 * The paper's split of one share of an FFN's weights between both stages (Federici et al., 2024), for gated FFNs; 1 keeps all of both.
 *
 *     inputs = σ(0.98499 · logit(keep) + 0.29976), outputs = 3 · (keep − ⅔ · inputs), within 0 and 1
 */
export function dipShares(keep: number): { readonly inputs: number; readonly outputs: number } {
  if (!(keep > 0 && keep <= 1)) {
    throw new InputError("INPUT_INVALID", `dip: a share of ${keep} of the weights, expected one above 0 and up to 1`, {
      details: { keep },
    });
  }
  if (keep === 1) return { inputs: 1, outputs: 1 };
  const inputs = 1 / (1 + Math.exp(-(0.98499 * Math.log(keep / (1 - keep)) + 0.29976)));
  return { inputs, outputs: Math.min(1, Math.max(0, 3 * (keep - (2 / 3) * inputs))) };
}

/** The same rules in every layer. */
export function uniformPlan(
  method: PruningMethod,
  nLayers: number,
  { inputs, outputs }: { readonly inputs: number; readonly outputs: number },
): PruningPlan {
  const layer = { inputs: inputs === 1 ? ALL : topShare(inputs), outputs: outputs === 1 ? ALL : topShare(outputs) };
  return {
    schemaVersion: 1,
    method,
    source: `the same shares in every layer: ${inputs} of the inputs, ${outputs} of the neurons`,
    layers: Array.from({ length: nLayers }, () => layer),
  };
}

const ALL: PruningRule = { rule: "all" };

/**
 * A plan as it was read, checked against the model that it is for.
 *
 * @param value Parsed JSON.
 * @param where For messages: the file's name.
 * @throws {InputError} `INPUT_INVALID` with `details.field`, for example `layers[3].inputs.share`.
 */
export function parsePruningPlan(
  value: unknown,
  where: string,
  { layers }: Pick<ModelGeometry, "layers">,
): PruningPlan {
  const fail = (field: string, found: unknown, expected: string): never => {
    throw new InputError(
      "INPUT_INVALID",
      `${where}: field ${field} is ${found === undefined ? "missing" : showValue(found)}, expected ${expected}; calibrate again`,
      { details: { field } },
    );
  };
  const plan = objectAt(value, "", fail);
  if (plan.schemaVersion !== 1) fail("schemaVersion", plan.schemaVersion, "1");
  if (!PRUNING_METHODS.includes(plan.method as PruningMethod)) {
    fail("method", plan.method, `one of ${PRUNING_METHODS.join(", ")}`);
  }
  if (typeof plan.source !== "string") fail("source", plan.source, "a text");
  if (!Array.isArray(plan.layers) || plan.layers.length !== layers.length) {
    const found = Array.isArray(plan.layers) ? `${plan.layers.length} layers` : plan.layers;
    fail("layers", found, `the ${layers.length} layers of this model`);
  }
  const rules = (plan.layers as unknown[]).map((layer, l) => {
    const stages = objectAt(layer, `layers[${l}]`, fail);
    const [inputs, outputs] = (["inputs", "outputs"] as const).map((stage) =>
      ruleAt(stages[stage], `layers[${l}].${stage}`, fail),
    );
    return { inputs: inputs!, outputs: outputs! };
  });
  return { schemaVersion: 1, method: plan.method as PruningMethod, source: plan.source as string, layers: rules };
}

type Fail = (field: string, found: unknown, expected: string) => never;

function objectAt(value: unknown, field: string, fail: Fail): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  return fail(field === "" ? "(all of it)" : field, value, "an object");
}

function ruleAt(value: unknown, field: string, fail: Fail): PruningRule {
  const { rule, share, threshold } = objectAt(value, field, fail);
  switch (rule) {
    case "all":
      return ALL;
    case "top":
      if (typeof share === "number" && share > 0 && share <= 1) return { rule, share };
      return fail(`${field}.share`, share, "a number above 0 and up to 1");
    case "above":
      if (typeof threshold === "number" && Number.isFinite(threshold) && threshold >= 0) return { rule, threshold };
      return fail(`${field}.threshold`, threshold, "a finite number of at least 0");
    default:
      return fail(`${field}.rule`, rule, 'one of "all", "top", "above"');
  }
}
