/**
 * What one pass over n tokens costs a mixture of experts, in closed form:
 *
 *     T = Σ_l [ T_attn + T_router + T_cache + exposed(T_read(misses), shared + hits) + T_check(misses) + T_ffn ] + T_head
 *
 * The router comes first; then misses fly while the shared expert, the experts that are held and the misses that are there already are computed: all but
 * the last to come. With a core to spare that is the longer of both, on two that are busy at most their sum (exposed-reads.ts).
 *
 * A token has few misses in a layer, and reads that outlast its hits in some layers are not made up for by others where nothing is read: so the time of
 * one token is the mean over 0 … chosen misses, as many independent draws have them, and not the time of the mean.
 *
 * Several tokens at once read each expert that any of them needs and none holds once, in the order of the file and ahead of the arithmetic; each expert is
 * computed for its tokens alone.
 */

import type { PassCost } from "./cost-figures.js";
import type { FlashProfile } from "./device-profile.js";
import { type ExpertLocality, expertsLoaded, expertUnion, localityOf } from "./expert-locality.js";
import { exposedReadMs, type OverlapShares } from "./exposed-reads.js";
import {
  type ExpertsShape,
  expertFlashBytes,
  type MixtureLayer,
  type MixtureShape,
  readsOfExpert,
} from "./mixture-shape.js";
import { PassArithmetic } from "./pass-arithmetic.js";
import type { TokenRequest } from "./pass-request.js";
import { batchesReadMs, batchReadMs, bufferedReadMs } from "./read-time.js";
import { LEAST_STREAM_READ_BYTES } from "./stream-reads.js";

/** With one slot a held expert must be computed before a missing one takes its place. */
const LEAST_SLOTS_TO_OVERLAP = 2;

/** Of one layer, apart from its attention. */
interface LayerCost {
  readonly bytes: number;
  readonly reads: number;
  readonly named: number;
  readonly loaded: number;
  readonly readMs: number;
  readonly exposedMs: number;
  readonly router: number;
  readonly cache: number;
  readonly check: number;
  readonly ffn: number;
}

const NOTHING: LayerCost = {
  bytes: 0,
  reads: 0,
  named: 0,
  loaded: 0,
  readMs: 0,
  exposedMs: 0,
  router: 0,
  cache: 0,
  check: 0,
  ffn: 0,
};

/** Published curves for a mixture, made once: planning asks some ten thousand times. */
const assumed = new WeakMap<MixtureShape, ExpertLocality>();

function assumedLocality(mixture: MixtureShape): ExpertLocality {
  const locality = assumed.get(mixture) ?? localityOf(mixture);
  assumed.set(mixture, locality);
  return locality;
}

/** Expected cost of one pass over `tokens` tokens; see `passCost`, which asks here for a mixture. */
export function mixturePassCost(request: TokenRequest, mixture: MixtureShape, tokens: number): PassCost {
  const pass = new MixturePass(request, request.locality ?? assumedLocality(mixture), tokens);
  const sum = mixture.layers.map((layer, index) => pass.layerCost(layer, index)).reduce(added, NOTHING);
  const attentionMs = mixture.layers.length * pass.clock.attentionMs();
  const headMs = pass.clock.headMs();
  return {
    flashBytes: sum.bytes,
    flashReads: sum.reads,
    neuronsNamed: sum.named,
    neuronsLoaded: sum.loaded,
    readMs: sum.readMs,
    exposedReadMs: sum.exposedMs,
    predictMs: sum.router,
    cacheMs: sum.cache,
    checkMs: sum.check,
    attentionMs,
    ffnMs: sum.ffn,
    headMs,
    totalMs: sum.exposedMs + sum.router + sum.cache + sum.check + attentionMs + sum.ffn + headMs,
  };
}

function added(a: LayerCost, b: LayerCost): LayerCost {
  const keys = Object.keys(a) as (keyof LayerCost)[];
  return Object.fromEntries(keys.map((key) => [key, a[key] + b[key]])) as unknown as LayerCost;
}

/** Reads of some misses of a layer, and what of them nothing is computed in. */
interface MissTime {
  readonly readMs: number;
  readonly exposedMs: number;
}

/** Experts of one layer, as one pass needs them. */
interface ExpertUse {
  readonly experts: ExpertsShape;
  readonly slots: number;
  /** Different ones that the tokens use, and those of them that must be read. */
  readonly named: number;
  readonly loaded: number;
  /** Of what every token computes beside them. */
  readonly residentMs: number;
}

interface KnownCost {
  readonly slots: number;
  readonly curve: readonly number[] | null;
  readonly cost: LayerCost;
}

/** What layers of one pass have in common. */
class MixturePass {
  readonly clock: PassArithmetic;
  readonly #request: TokenRequest;
  readonly #locality: ExpertLocality;
  readonly #tokens: number;
  /** Layers are mostly one and the same object, with the same slots and curve. */
  readonly #layerCosts = new Map<MixtureLayer, KnownCost[]>();
  /** Of 0 … chosen misses, by layer and slots. */
  readonly #missTimes = new Map<MixtureLayer, Map<number, readonly MissTime[]>>();

  constructor(request: TokenRequest, locality: ExpertLocality, tokens: number) {
    this.clock = new PassArithmetic(request, tokens);
    this.#request = request;
    this.#locality = locality;
    this.#tokens = tokens;
  }

  layerCost(layer: MixtureLayer, index: number): LayerCost {
    const slots = this.#request.slotsByLayer[index]!;
    const curve = this.#locality.hitShareByLayer[index] ?? null;
    const known = this.#layerCosts.get(layer) ?? [];
    this.#layerCosts.set(layer, known);
    const same = known.find((of) => of.slots === slots && of.curve === curve);
    if (same) return same.cost;
    const cost = this.#layerCost(layer, index);
    known.push({ slots, curve, cost });
    return cost;
  }

  #layerCost(layer: MixtureLayer, index: number): LayerCost {
    const { clock } = this;
    const residentMs = clock.mixtureFfnMs(layer.resident);
    if (layer.experts === null) return { ...NOTHING, ffn: residentMs };
    const use = this.#use(layer.experts, index, residentMs);
    const { experts, named, loaded } = use;
    return {
      bytes: loaded * expertFlashBytes(experts),
      reads: loaded * readsOfExpert(experts),
      named,
      loaded,
      ...(this.#tokens === 1 ? this.#tokenMissTime(layer, use) : this.#missTime(use, loaded)),
      router: clock.routerMs(experts.router, experts.count),
      cache: clock.cacheMs(named, loaded),
      check: experts.isChecked === false ? 0 : clock.checkMs(loaded),
      ffn: residentMs + named * this.#expertMs(use),
    };
  }

  #use(experts: ExpertsShape, layer: number, residentMs: number): ExpertUse {
    const { slotsByLayer, settings, seenTokens } = this.#request;
    const locality = this.#locality;
    const slots = slotsByLayer[layer]!;
    const held = { slots, windowTokens: settings.windowTokens, seenTokens };
    const named = expertUnion(locality, layer, experts.chosen, this.#tokens);
    const loaded = expertsLoaded(locality, layer, experts.chosen, held, this.#tokens);
    return { experts, slots, named, loaded, residentMs };
  }

  /** Of one expert, for its share of the tokens. */
  #expertMs({ experts: { weights, chosen }, named }: ExpertUse): number {
    return this.clock.mixtureFfnMs(weights, Math.max(1, (this.#tokens * chosen) / named));
  }

  /** The mean over the misses of one token. */
  #tokenMissTime(layer: MixtureLayer, use: ExpertUse): MissTime {
    const { chosen } = use.experts;
    const bySlots = this.#missTimes.get(layer) ?? new Map<number, readonly MissTime[]>();
    this.#missTimes.set(layer, bySlots);
    const times =
      bySlots.get(use.slots) ?? Array.from({ length: chosen + 1 }, (_, misses) => this.#missTime(use, misses));
    bySlots.set(use.slots, times);
    return expectation(times, use.loaded / chosen);
  }

  #missTime(use: ExpertUse, misses: number): MissTime {
    const { settings, profile } = this.#request;
    const readMs = this.#readMs(use, misses);
    // The calling thread's own reads are done before it computes anything.
    if (!settings.overlap || settings.readers === 0) return { readMs, exposedMs: readMs };
    const { named, slots, residentMs } = use;
    // Each is computed when it is there: all but the last to come, while others fly.
    const during = Math.max(0, named - 1);
    const meanwhile = residentMs + (slots < LEAST_SLOTS_TO_OVERLAP ? 0 : during * this.#expertMs(use));
    return { readMs, exposedMs: exposedReadMs(overlapOf(profile.flash, use.experts), readMs, meanwhile) };
  }

  /** A set that does not fit the slots passes in waves, each a batch of its own. */
  #readMs({ experts, named, slots }: ExpertUse, misses: number): number {
    const { settings, profile } = this.#request;
    if (misses <= 0) return 0;
    const count = misses * readsOfExpert(experts);
    const bytes = misses * expertFlashBytes(experts);
    if (settings.readers === 0) return bufferedReadMs(profile.flash, count, bytes);
    const waves = Math.min(Math.max(1, named / slots), Math.max(1, misses));
    // Where all reads fit the queue no wave has a last round of its own.
    if (count <= settings.readers)
      return waves * batchReadMs(profile.flash, count / waves, bytes / count, settings.readers);
    return batchesReadMs(profile.flash, count, bytes / count, settings.readers, waves);
  }
}

/** What reads of experts and arithmetic leave each other: as a stream's, which are as long, and cost the cores less than reads of records. */
function overlapOf(flash: FlashProfile, experts: ExpertsShape): OverlapShares {
  const isLong = expertFlashBytes(experts) / readsOfExpert(experts) >= LEAST_STREAM_READ_BYTES;
  return isLong && flash.stream ? flash.stream : flash;
}

/** The mean over a binomial number of misses, `times[m]` for each m. */
function expectation(times: readonly MissTime[], missShare: number): MissTime {
  const most = times.length - 1;
  const mean = { readMs: 0, exposedMs: 0 };
  let choices = 1;
  for (const [misses, { readMs, exposedMs }] of times.entries()) {
    const probability = choices * missShare ** misses * (1 - missShare) ** (most - misses);
    mean.readMs += probability * readMs;
    mean.exposedMs += probability * exposedMs;
    choices = (choices * (most - misses)) / (misses + 1);
  }
  return mean;
}
