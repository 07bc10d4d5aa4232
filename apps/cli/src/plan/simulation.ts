/** What `flashwick trace simulate` finds, and the words for it. */
import type { SimulatedTrace } from "@flashwick/runtime";

/** The document of `flashwick trace simulate --json`. */
export interface Simulation {
  readonly trace: string;
  /** What the trace is of; null: a trace alone does not say. */
  readonly unit: "neuron" | "expert" | null;
  readonly nLayers: number;
  readonly dFf: number;
  /** One cache of all layers; then `slots` are its, and units are those of all layers. */
  readonly pool: boolean;
  readonly recordBytes: number;
  readonly readsPerNeuron: number;
  readonly mergeGapBytes: number;
  readonly warmUpTokens: number;
  readonly device: string | null;
  readonly rows: readonly SimulatedTrace[];
  readonly plot: string | null;
}

/** The words for a simulation's units. */
export function unitWords({ unit }: Pick<Simulation, "unit">): string {
  return unit === null ? "neurons or experts" : `${unit}s`;
}
