/** Whether a model can be pruned as a plan says. */
import { hasExperts, InputError, UnsupportedError } from "@flashwick/core";
import type { ModelHeader } from "@flashwick/flash-format";
import type { PruningPlan } from "./pruning-plan.js";

/**
 * @param gamma 1: what is in DRAM is not preferred.
 * @throws {InputError} `INPUT_INVALID` for a γ out of range. {UnsupportedError} `UNSUPPORTED_FEATURE` for a mixture of experts; by columns, for a method
 *   whose units are none; and for a γ below 1 where no cache holds columns.
 */
export function checkPruning({ geometry, weights }: ModelHeader, { method }: PruningPlan, gamma: number): void {
  if (!(gamma > 0 && gamma <= 1)) {
    throw new InputError("INPUT_INVALID", `pruning gamma is ${gamma}, expected a number above 0 and up to 1`);
  }
  if (hasExperts(geometry)) {
    throw unsupported("a mixture of experts, whose router chooses already, is not pruned; run it without a plan");
  }
  if (weights.layout === "columns") {
    if (method !== "oracle" && method !== "cats") return;
    throw unsupported(
      `a plan of ${method} names whole neurons, which a file of columns does not have; expected dip, dip-norms or teal`,
    );
  }
  if (gamma === 1) return;
  throw unsupported(
    "a gamma below 1 prefers what caches of columns hold, and this file has none; convert the model with --layout columns, or leave gamma at 1",
  );
}

function unsupported(message: string): UnsupportedError {
  return new UnsupportedError("UNSUPPORTED_FEATURE", `pruning: ${message}`);
}
