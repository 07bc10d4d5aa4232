/** The mixture of experts in a header, as the cost model and the memory plan see it. */
import { assert, unitsByLayer } from "@flashwick/core";
import type { ExpertsShape, MixtureLayer, MixtureShape, PlannedExperts, TypedBytes } from "@flashwick/cost-model";
import { type ExpertTensors, type ModelHeader, planExpertSlot } from "@flashwick/flash-format";
import type { CacheScope } from "./engine-config.js";

/** FFN matrices that are resident beside experts: of a shared expert, and of a layer that has none. */
const SHARED = ["ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"];
const DENSE = ["ffn_gate", "ffn_up", "ffn_down"];

/** What each layer of a mixture has. Layers that are alike are one object. */
export function mixtureOf(header: ModelHeader): MixtureShape {
  const known = new Map<string, MixtureLayer>();
  const layers = header.geometry.layers.map((_, index) => {
    const layer = layerOf(header, index);
    const key = JSON.stringify(layer);
    const same = known.get(key) ?? layer;
    known.set(key, same);
    return same;
  });
  return { layers };
}

function layerOf(header: ModelHeader, index: number): MixtureLayer {
  const { experts: geometry, ffn } = header.geometry.layers[index]!;
  const tensors = header.experts[index];
  const typed = (names: readonly string[]) => names.flatMap((name) => weightsOf(header, `blk.${index}.${name}.weight`));
  if (!tensors) return { experts: null, resident: typed(DENSE) };
  assert(geometry !== undefined, `layer ${index} has a router`);
  const [router] = typed(["ffn_gate_inp"]);
  assert(router !== undefined, `layer ${index} has a router`);
  const isChecked = tensors.recordChecks !== null || header.checksums !== undefined;
  const experts = { ...expertsOf(tensors), chosen: geometry.chosen, dFf: ffn.dFf, router, isChecked };
  return { experts, resident: typed(SHARED) };
}

function weightsOf({ tensors }: ModelHeader, name: string): TypedBytes[] {
  const tensor = tensors.get(name);
  return tensor ? [{ dtype: tensor.dtype, bytes: tensor.sizeBytes + (tensor.scales?.sizeBytes ?? 0) }] : [];
}

function expertsOf(tensors: ExpertTensors): Pick<ExpertsShape, "count" | "weights" | "pieceBytes" | "slotBytes"> {
  const { count, matrices } = tensors;
  const slot = planExpertSlot(tensors);
  return {
    count,
    weights: matrices.map(({ dtype, sizeBytes }) => ({ dtype, bytes: sizeBytes })),
    pieceBytes: slot.pieces.map(({ sizeBytes }) => sizeBytes),
    slotBytes: slot.sizeBytes,
  };
}

/**
 * Bytes of a slot, by layer, without the biases of neurons; by columns, of a neuron. Experts of a layer lie in slots of their own size, each piece with the room that reads of whole
 * sectors need; in a pool of all layers slots are of the largest.
 */
export function slotBytesByLayer(
  { geometry, weights, experts }: Pick<ModelHeader, "geometry" | "weights" | "experts">,
  scope: CacheScope,
): number[] {
  return geometry.layers.map((_, layer) => {
    const tensors = scope === "layer" ? experts[layer] : null;
    if (tensors) return planExpertSlot(tensors).sizeBytes;
    return weights.layout === "columns" ? weights.outputs.strideBytes : weights.slotBytes;
  });
}

/** What the memory plan gives out slots for; undefined where there are no experts. */
export function plannedExperts(
  header: ModelHeader,
  scope: CacheScope,
  expertsPerToken: number | null,
): PlannedExperts | undefined {
  const { geometry, experts } = withExpertsPerToken(header, expertsPerToken);
  if (experts.length === 0) return undefined;
  return {
    countByLayer: unitsByLayer(geometry),
    chosenByLayer: geometry.layers.map(({ experts: of }) => of?.chosen ?? 0),
    slotBytesByLayer: slotBytesByLayer(header, scope),
  };
}

/** The header of a model whose routers choose so many at most; null: as it is. For sizes and costs: a layer's weights stay. */
export function withExpertsPerToken(header: ModelHeader, expertsPerToken: number | null): ModelHeader {
  if (expertsPerToken === null) return header;
  const layers = header.geometry.layers.map((layer) => {
    const { experts } = layer;
    return experts ? { ...layer, experts: { ...experts, chosen: Math.min(experts.chosen, expertsPerToken) } } : layer;
  });
  return { ...header, geometry: { ...header.geometry, layers } };
}
