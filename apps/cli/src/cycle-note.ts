/** The guard of a cache that one token does not fit: it hits little, and which budget would do is known. */
import { formatBytes } from "@flashwick/core";
import type { MemoryPlan } from "@flashwick/cost-model";

type CyclePlan = Pick<MemoryPlan, "cycleBudgetBytes"> & {
  readonly budgetBytes: number;
  readonly units: "neurons" | "experts";
};

/** What to say of a budget; null where what one token names fits, or nothing is named. */
export function cycleNote({ cycleBudgetBytes, budgetBytes, units }: CyclePlan): string | null {
  if (cycleBudgetBytes === null || budgetBytes >= cycleBudgetBytes) return null;
  const budget = `note: a DRAM budget of ${formatBytes(budgetBytes)} holds`;
  const enough = formatBytes(cycleBudgetBytes);
  if (units === "experts") {
    return `${budget} fewer experts of each layer than one token chooses, so most are read again for every token; ${enough} hold them`;
  }
  return `${budget} less than what one token names of each layer, so hardly any neuron stays until it is needed again; from ${enough} on they do`;
}
