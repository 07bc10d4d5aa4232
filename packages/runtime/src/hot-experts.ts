/**
 * Experts that a workload used most, read into the slots before anything is asked: the first tokens then hit what they would have missed.
 *
 * They are a beginning of the cache and nothing else: no bit of any output depends on them, unless routers prefer what is resident.
 */
import { eventLoopTurn, hasExperts, InputError, IntegrityError, unitGrid, unitsByLayer } from "@flashwick/core";
import { type CacheWave, layerSeeds, type NeuronCache, poolSeeds, type UnitProfile } from "@flashwick/dram-cache";
import type { ModelHeader } from "@flashwick/flash-format";
import type { EngineLayer } from "./engine-layer.js";
import type { EngineParts } from "./engine-parts.js";
import type { RoutedExperts } from "./mixture-ffn.js";
import { TokenMeter } from "./token-meter.js";

/** Experts that are read at a time by a reader without threads; one with threads has two in flight for each. */
const LEAST_GROUP = 4;

/** A mixture, and which layer it is. */
interface HotLayer extends RoutedExperts {
  readonly layer: number;
}

/** A cache that was told its experts, and the layers that share it, rising. */
interface SeededCache {
  readonly layers: readonly HotLayer[];
  readonly wave: CacheWave;
}

/**
 * @throws {InputError} `INPUT_INVALID` for a model without experts, or a profile of other layers or experts. {IntegrityError} `INTEGRITY_FINGERPRINT`
 *   for another model's.
 */
export function checkHotExperts(
  { fingerprint, nUnits, hottest }: UnitProfile,
  { geometry, ...header }: Pick<ModelHeader, "geometry" | "fingerprint">,
): void {
  if (!hasExperts(geometry)) {
    throw new InputError("INPUT_INVALID", "hotExperts: expected none, since the model is no mixture of experts");
  }
  if (fingerprint !== header.fingerprint) {
    const [found, expected] = [fingerprint, header.fingerprint];
    const message = `hotExperts: the profile is of model ${found.slice(0, 12)}…, expected ${expected.slice(0, 12)}…; record it again`;
    throw new IntegrityError("INTEGRITY_FINGERPRINT", message, { details: { found, expected } });
  }
  const { dFf } = unitGrid(geometry);
  const units = unitsByLayer(geometry);
  const other = hottest.findIndex((list, layer) => list.some((unit) => unit >= (units[layer] ?? 0)));
  if (nUnits === dFf && hottest.length === units.length && other < 0) return;
  const found =
    other < 0 ? `${hottest.length} layers of ${nUnits} experts` : `experts of layer ${other} that it has not`;
  throw new InputError(
    "INPUT_INVALID",
    `hotExperts: the profile has ${found}, expected ${units.length} layers of ${dFf}; record it again`,
  );
}

/**
 * Fills empty caches with a profile's hottest experts, as many as slots hold: in a pool as many of each layer.
 *
 * @param onBytes Called with what each group of experts took, and of all.
 * @returns Bytes read.
 * @throws {IntegrityError} `INTEGRITY_EXPERT`. As `FlashReader.wait`; the signals' own reasons. The caches are of no use then.
 */
export async function readHotExperts(
  parts: EngineParts,
  layers: readonly EngineLayer[],
  onBytes: (loaded: number, total: number) => void,
): Promise<number> {
  const { hotExperts, clock } = parts;
  if (!hotExperts) return 0;
  const seeded = Array.from(layersByCache(layers), ([cache, sharing]): SeededCache => {
    return { layers: sharing, wave: cache.seed(seedsOf(hotExperts, cache, sharing)) };
  });
  const total = seeded.reduce((sum, cache) => sum + bytesOf(cache, cache.wave.misses), 0);
  const meter = new TokenMeter(clock);
  meter.begin();
  let loaded = 0;
  for (const cache of seeded) {
    for await (const bytes of readWave(parts, cache, meter)) onBytes((loaded += bytes), total);
  }
  return loaded;
}

function layersByCache(layers: readonly EngineLayer[]): Map<NeuronCache, HotLayer[]> {
  const sharing = new Map<NeuronCache, HotLayer[]>();
  for (const layer of layers) {
    if (layer.storage !== "experts" || !layer.mixture.parts.routed) continue;
    const { geometry, slots } = layer.mixture.parts.routed;
    sharing.set(slots.cache, [...(sharing.get(slots.cache) ?? []), { geometry, slots, layer: layer.index }]);
  }
  return sharing;
}

function seedsOf(profile: UnitProfile, { slotCount }: NeuronCache, sharing: readonly HotLayer[]): Uint32Array[] {
  const { slots, layer, geometry } = sharing[0]!;
  if (!slots.isPooled) return layerSeeds(profile, layer, slotCount, geometry.chosen);
  const hottest = sharing.map((of) => profile.hottest[of.layer]!);
  return poolSeeds({ ...profile, hottest }, slotCount, geometry.chosen);
}

/** Reads a few experts at a time, so that aborts come in. Yields the bytes of each few. */
async function* readWave(
  { reader, signal, closing }: EngineParts,
  { layers, wave }: SeededCache,
  meter: TokenMeter,
): AsyncGenerator<number> {
  const group = Math.max(LEAST_GROUP, 2 * reader.readers);
  for (let first = 0; first < wave.misses.length; first += group) {
    const misses = wave.misses.subarray(first, first + group);
    const reads = Array.from(misses, (miss) => {
      const { slots } = layerOf(layers, wave.neurons[miss]!);
      return { slots, expert: slots.expertOf(wave.neurons[miss]!), slot: wave.slots[miss]! };
    });
    const { kernels } = reads[0]!.slots.parts;
    reader.start(
      kernels.arena.bytes,
      reads.flatMap(({ slots, expert, slot }) => slots.planReads(expert, slot)),
      signal,
    );
    await reader.wait();
    for (const { slots, expert, slot } of reads) slots.check(expert, slot, meter);
    yield bytesOf({ layers, wave }, misses);
    await eventLoopTurn();
    signal?.throwIfAborted();
    closing?.throwIfAborted();
  }
}

function bytesOf({ layers, wave }: SeededCache, misses: Uint32Array): number {
  return misses.reduce((sum, miss) => sum + layerOf(layers, wave.neurons[miss]!).slots.expertBytes, 0);
}

/** The last layer whose experts begin at or before the unit. */
function layerOf(layers: readonly HotLayer[], unit: number): HotLayer {
  return layers.findLast(({ slots }) => slots.parts.firstUnit <= unit)!;
}
