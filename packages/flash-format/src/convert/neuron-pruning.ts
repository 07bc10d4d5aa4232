/** Neurons that a conversion leaves out: which stay, and what becomes of the geometry. */
import { hasExperts, InputError, type ModelGeometry, UnsupportedError } from "@flashwick/core";
import type { PruningSpec } from "../model-writer.js";

/** Which neurons stay, and what chose them. */
export interface NeuronPruning extends Pick<PruningSpec, "trace" | "traceOf"> {
  /** By layer: the neurons that stay, at least one, in the order of their records. */
  readonly kept: readonly Uint32Array[];
}

/**
 * The geometry of what stays.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a mixture of experts. {InputError} `INPUT_INVALID` for another
 * number of layers, or naming the layer that would be empty.
 */
export function prunedGeometry(geometry: ModelGeometry, { kept }: Pick<NeuronPruning, "kept">): ModelGeometry {
  const { layers } = geometry;
  if (hasExperts(geometry)) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "a mixture of experts, whose records are whole experts, has no single neurons to leave out; convert without --prune",
    );
  }
  if (kept.length !== layers.length) {
    throw new InputError("INPUT_INVALID", `pruning of ${kept.length} layers, expected ${layers.length}`);
  }
  const empty = kept.findIndex(({ length }) => length === 0);
  if (empty >= 0) {
    const message = `layer ${empty} would have no neuron left, expected at least one; leave out a smaller share`;
    throw new InputError("INPUT_INVALID", message, { details: { layer: empty } });
  }
  return {
    ...geometry,
    layers: layers.map((layer, l) => ({ ...layer, ffn: { ...layer.ffn, dFf: kept[l]!.length } })),
  };
}

/** What the file will say of it. */
export function prunedSpec({ layers }: ModelGeometry, { trace, traceOf }: NeuronPruning): PruningSpec {
  return { neurons: layers.map(({ ffn }) => ffn.dFf), trace, traceOf };
}
