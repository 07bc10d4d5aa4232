/** How often the neurons of a recorded trace come back, for a predictor that is made without running its model. */
import type { SparsityStatistics } from "@flashwick/core";
import { UNION_TOKENS } from "@flashwick/cost-model";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import { SparsityTally } from "@flashwick/predictor";

/**
 * @param widths Neurons of a layer; of each, where layers differ.
 * @param source What the statistics say they come from.
 */
export function traceStatistics(
  { nLayers, tokens }: NeuronTrace,
  widths: number | readonly number[],
  source: string,
): SparsityStatistics {
  const tally = new SparsityTally(nLayers, widths);
  tally.begin();
  for (const sets of tokens) for (const [layer, set] of sets.entries()) tally.add(layer, set);
  return tally.statistics(source, UNION_TOKENS);
}
