/** Where a mixture's experts go, and its layers. */
import { activationOf, unitsByLayer, widestFfn } from "@flashwick/core";
import { createNeuronCache, type NeuronCache } from "@flashwick/dram-cache";
import type { Ptr } from "@flashwick/kernels";
import type { ArenaContext } from "./arena-context.js";
import { cachePolicy } from "./cache-policy.js";
import type { EngineLayer, MixtureLayer } from "./engine-layer.js";
import type { EngineParts } from "./engine-parts.js";
import { ExpertArithmetic } from "./expert-arithmetic.js";
import { readExpertCrcs } from "./expert-crcs.js";
import { ExpertLookAhead } from "./expert-look-ahead.js";
import { ExpertSlots } from "./expert-slots.js";
import type { LookAheadMeter } from "./look-ahead-meter.js";
import { MixtureFfn } from "./mixture-ffn.js";
import { slotBytesByLayer } from "./mixture-shape.js";
import type { ResidentLoader } from "./resident-weights.js";

/** The cache that decides over a layer's experts, its unit of expert 0, the arena pointer of its slot 0 and the bytes of a slot. */
interface ExpertPlace {
  readonly cache: NeuronCache;
  readonly isPooled: boolean;
  readonly firstUnit: number;
  readonly slotBase: Ptr;
  readonly slotBytes: number;
}

/**
 * A place for the experts of every layer, null for a dense one. Slots of an arena's layers lie in one block: each layer has its part of them, or all of
 * them are a pool.
 */
export function placeExperts(
  { plan, config, file }: EngineParts,
  contexts: readonly ArenaContext[],
  arenaOfLayer: readonly number[],
): readonly (ExpertPlace | null)[] {
  const { geometry } = file.header;
  const slotBytes = slotBytesByLayer(file.header, config.cacheScope);
  const units = unitsByLayer(geometry);
  const most = Math.max(...units);
  const mixturesOf = (arena: number) =>
    arenaOfLayer.flatMap((of, layer) => (of === arena && units[layer]! > 0 ? [layer] : []));
  const slotsOf = (layers: readonly number[]) => layers.reduce((sum, layer) => sum + plan.slotsByLayer[layer]!, 0);
  const bytesOf = (layers: readonly number[]) =>
    layers.reduce((sum, layer) => sum + plan.slotsByLayer[layer]! * slotBytes[layer]!, 0);
  const places: (ExpertPlace | null)[] = units.map(() => null);
  for (const { index, slotBase } of contexts) {
    const layers = mixturesOf(index);
    if (config.cacheScope === "pool" && layers.length > 0) {
      const nLayers = layers.length;
      const dFf = nLayers * most;
      const policy = cachePolicy(config.policy, dFf, nLayers);
      const cache = createNeuronCache({ dFf, nLayers, slotCount: slotsOf(layers), policy });
      for (const [i, layer] of layers.entries()) {
        places[layer] = { cache, isPooled: true, firstUnit: i * most, slotBase, slotBytes: slotBytes[layer]! };
      }
      continue;
    }
    for (const [i, layer] of layers.entries()) {
      const dFf = units[layer]!;
      const cache = createNeuronCache({ dFf, slotCount: slotsOf([layer]), policy: cachePolicy(config.policy, dFf) });
      const own = { slotBase: slotBase + bytesOf(layers.slice(0, i)), slotBytes: slotBytes[layer]! };
      places[layer] = { cache, isPooled: false, firstUnit: 0, ...own };
    }
  }
  return places;
}

/** Has each mixture read ahead for the next one in its arena: what is guessed there must be computed there. */
export function linkLookAheads(layers: readonly EngineLayer[], dModel: number): void {
  for (const [i, layer] of layers.entries()) {
    const next = layers[i + 1];
    if (layer.storage !== "experts" || next?.storage !== "experts" || next.context !== layer.context) continue;
    const { routed, weights, limits } = next.mixture.parts;
    if (!layer.mixture.parts.routed || !routed || !weights.router || next.geometry.parallel) continue;
    const { kernels, workspace } = layer.context;
    const lookAhead = new ExpertLookAhead({
      ...{ layer: next.index, kernels, workspace, dModel, limits },
      geometry: routed.geometry,
      norm: next.weights.norms.beforeFfn,
      router: weights.router,
      slots: routed.slots,
    });
    layer.mixture.lookAhead = { ...layer.mixture.lookAhead, next: lookAhead };
    next.mixture.lookAhead = { ...next.mixture.lookAhead, here: lookAhead };
  }
}

export async function placeMixtureLayer(
  { file, reader, config, clock, signal }: EngineParts,
  layer: number,
  context: ArenaContext,
  place: ExpertPlace | null,
  limits: LookAheadMeter | null,
  loader: ResidentLoader,
): Promise<MixtureLayer> {
  const { arena, kernels, workspace } = context;
  const geometry = file.header.geometry.layers[layer]!;
  const { ffn, experts } = geometry;
  const weights = loader.layer(arena, layer);
  const tensors = file.header.experts[layer];
  const slots =
    place &&
    tensors &&
    new ExpertSlots({
      ...{ layer, kernels, reader, tensors, ...place },
      source: file.source,
      crcOf: await readExpertCrcs(file, layer, signal),
      crcRoom: { numbers: workspace.slots, found: workspace.act, most: widestFfn(file.header.geometry) },
    });
  const own = loader.mixture(arena, layer, weights);
  const mixture = new MixtureFfn({
    ...{ layer, kernels, workspace },
    weights: own,
    arithmetic: new ExpertArithmetic({
      ...{ kernels, workspace, weights: own, activation: activationOf(ffn) },
      dModel: file.header.geometry.dModel,
      gated: ffn.gated,
    }),
    routed: slots && experts ? { geometry: experts, slots } : null,
    overlap: config.overlap,
    ...{ limits, clock },
  });
  // Biases of a dense layer are added by the mixture.
  return { storage: "experts", index: layer, geometry, context, weights: { ...weights, downBias: 0 }, mixture };
}
