/**
 * The FFN of a layer that is a mixture of experts, or stands beside mixtures: routed experts through their slots, and what every token uses.
 *
 * Invariants. A row's sum is in ascending order of experts, whatever is resident, whatever lands when, and however a step is cut into waves; a row's
 * products depend on that row alone. So the result is the same bit for bit whichever rows are computed together, and whatever the cache holds. When
 * anything fails half-way the cache forgets all it holds.
 *
 * What overlaps. Reads of missing experts are issued first; while they fly, what every token uses is computed, then the experts that are there, then
 * each of the others as it lands.
 */
import { assert, type ExpertsGeometry } from "@flashwick/core";
import type { CacheWave } from "@flashwick/dram-cache";
import type { FlashReader } from "@flashwick/flash-io";
import type { Kernels, Ptr } from "@flashwick/kernels";
import type { ExpertChoice } from "./chooser.js";
import type { ExpertArithmetic } from "./expert-arithmetic.js";
import { AS_ROUTED, type ChosenRoute, chooseExperts } from "./expert-choice.js";
import type { ExpertLookAhead } from "./expert-look-ahead.js";
import type { ExpertSlots } from "./expert-slots.js";
import { planVisits, type StepVisits } from "./expert-visits.js";
import type { LookAheadMeter } from "./look-ahead-meter.js";
import type { MixtureWeights } from "./resident-weights.js";
import type { TokenMeter } from "./token-meter.js";
import { vectorBytes } from "./vector-bytes.js";
import type { Workspace } from "./workspace.js";

/** Experts that a router names. */
export interface RoutedExperts {
  readonly geometry: ExpertsGeometry;
  readonly slots: ExpertSlots;
}

export interface MixtureFfnParts {
  readonly layer: number;
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  readonly weights: MixtureWeights;
  readonly arithmetic: ExpertArithmetic;
  /** Null in a dense layer. */
  readonly routed: RoutedExperts | null;
  /** False: every read is waited for before anything is computed. */
  readonly overlap: boolean;
  /** Of what flash is doing; null where nobody looks ahead. */
  readonly limits: LookAheadMeter | null;
  readonly clock: () => number;
}

/** What a wave reads: after so many runs of the batch, so many of its misses are there. */
interface IssuedWave {
  readonly wave: CacheWave;
  readonly runCounts: readonly number[];
  readonly bytes: number;
  /** When its reads began, on the clock. */
  readonly beganMs: number;
}

export interface MixtureOptions {
  /** Of experts; default: as the model's routers choose. What it prefers of the cache is for a step of one token. */
  readonly choice?: ExpertChoice | undefined;
  /** Hears the experts of each row before the cache makes room for them; not of a dense layer. */
  readonly onRoutes?: (routes: readonly ChosenRoute[]) => void;
  readonly signal?: AbortSignal | undefined;
}

export class MixtureFfn {
  readonly parts: MixtureFfnParts;
  /** What reads experts of this layer before it is asked, and of the next one; null: nothing. */
  lookAhead: { readonly here: ExpertLookAhead | null; readonly next: ExpertLookAhead | null } = {
    here: null,
    next: null,
  };
  /** Of the step in progress. */
  #choice = AS_ROUTED;

  constructor(parts: MixtureFfnParts) {
    this.parts = parts;
  }

  /** Experts that the layer has slots for; null in a dense layer. */
  get slots(): ExpertSlots | null {
    return this.parts.routed?.slots ?? null;
  }

  /**
   * out[t] += the layer's FFN of x[t].
   *
   * @param out f32 `[nTokens, pad(dModel)]`. Must not alias x.
   * @returns Whether experts were routed to: not in a dense layer.
   * @throws {IntegrityError} `INTEGRITY_EXPERT`, `INTEGRITY_ROUTER`. As the reader's `wait`; the signal's own reason.
   */
  async compute(
    out: Ptr,
    x: Ptr,
    nTokens: number,
    meter: TokenMeter,
    { choice = AS_ROUTED, signal, onRoutes }: MixtureOptions = {},
  ): Promise<boolean> {
    const { routed } = this.parts;
    if (!routed) {
      meter.enter("ffn");
      this.parts.arithmetic.addResident(out, x, nTokens);
      return false;
    }
    this.#choice = nTokens === 1 ? choice : { ...choice, preference: null };
    const chosen = await this.#route(x, routed, nTokens, meter);
    onRoutes?.(chosen);
    const routes = chosen.map(({ used }) => used);
    const step = planVisits(routes);
    try {
      this.parts.limits?.idleUntil(this.parts.clock());
      if (nTokens === 1) await this.lookAhead.here?.land(routes[0]!, meter);
      let isFirst = true;
      let unitsLeft = step.size;
      const { slots } = routed;
      for (const wave of slots.cache.admit(routes.map(({ experts }) => slots.unitsOf(experts)))) {
        this.#count(slots, wave, step, meter);
        const issued = this.#issue(routed, wave, meter, signal);
        meter.enter("ffn");
        if (isFirst) this.parts.arithmetic.addResident(out, x, nTokens);
        isFirst = false;
        unitsLeft -= wave.neurons.length;
        // A reader does one batch at a time: ahead is read only once nothing of this layer is missing.
        const looksAhead = nTokens === 1 && unitsLeft === 0 && slots.cache.slotCount >= routed.geometry.chosen;
        await this.#computeWave(routed, issued, step, x, nTokens, looksAhead, meter, signal);
        meter.enter("cache");
      }
    } catch (error) {
      routed.slots.cache.clear();
      throw error;
    }
    meter.enter("ffn");
    this.parts.arithmetic.sum(out, step);
    return true;
  }

  async #route(
    x: Ptr,
    { geometry, slots }: RoutedExperts,
    nTokens: number,
    meter: TokenMeter,
  ): Promise<readonly ChosenRoute[]> {
    const { kernels, workspace: w, layer, weights } = this.parts;
    const { router } = weights;
    assert(router, "a mixture has a router");
    meter.enter("predict");
    kernels.linear(w.routerLogits, x, router.weight!, router.bias, nTokens, w.scratch);
    const rowBytes = vectorBytes(geometry.count);
    const pending = kernels.take(w.routerLogits, nTokens * rowBytes);
    if (pending) await pending;
    return Array.from({ length: nTokens }, (_, t) =>
      chooseExperts(
        kernels.arena.f32(w.routerLogits + t * rowBytes, geometry.count),
        geometry,
        layer,
        this.#choice,
        slots.isResident,
      ),
    );
  }

  #count(
    slots: ExpertSlots,
    { neurons: units, misses }: CacheWave,
    visits: StepVisits,
    { counters }: TokenMeter,
  ): void {
    let named = 0;
    for (const unit of units) named += visits.get(slots.expertOf(unit))!.rows.length;
    counters.named += named;
    counters.hits += named - misses.length;
    counters.misses += misses.length;
    counters.loaded += misses.length;
  }

  #issue({ slots }: RoutedExperts, wave: CacheWave, meter: TokenMeter, signal?: AbortSignal): IssuedWave {
    const { kernels } = this.parts;
    meter.enter("cache");
    slots.prepareWave(wave);
    const runCounts: number[] = [];
    const runs = Array.from(wave.misses).flatMap((miss) => {
      const ofExpert = slots.planReads(slots.expertOf(wave.neurons[miss]!), wave.slots[miss]!);
      runCounts.push((runCounts.at(-1) ?? 0) + ofExpert.length);
      return ofExpert;
    });
    if (runs.length > 0) {
      // A reader without threads reads here and now.
      meter.enter("readWait");
      meter.readsIssued();
      slots.parts.reader.start(kernels.arena.bytes, runs, signal);
      meter.countReads(runs);
    }
    const bytes = runs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return { wave, runCounts, bytes, beganMs: this.parts.clock() };
  }

  async #computeWave(
    routed: RoutedExperts,
    issued: IssuedWave,
    step: StepVisits,
    x: Ptr,
    nTokens: number,
    looksAhead: boolean,
    meter: TokenMeter,
    signal?: AbortSignal,
  ): Promise<void> {
    const { reader } = routed.slots.parts;
    const { wave, runCounts } = issued;
    const visit = (index: number) => {
      const expert = routed.slots.expertOf(wave.neurons[index]!);
      meter.enter("ffn");
      this.parts.arithmetic.visit(routed.slots, step.get(expert)!, wave.slots[index]!, x, nTokens);
    };
    if (!this.parts.overlap && wave.misses.length > 0) await this.#land(reader, undefined, meter);
    // In a pool, what the next layer wants may push out what is still to be computed of this one.
    const looksEarly = looksAhead && !routed.slots.isPooled;
    if (wave.misses.length === 0) this.#allLanded(issued, looksEarly, meter, signal);
    for (const hit of wave.hits) visit(hit);
    for (const [i, miss] of wave.misses.entries()) {
      await this.#land(reader, runCounts[i]!, meter);
      if (i + 1 === wave.misses.length) this.#allLanded(issued, looksEarly, meter, signal);
      routed.slots.check(routed.slots.expertOf(wave.neurons[miss]!), wave.slots[miss]!, meter);
      visit(miss);
    }
    if (looksAhead && !looksEarly) this.lookAhead.next?.begin(this.#choice, meter, signal);
  }

  /** No read is in flight any more: what comes now is a chance to look ahead. */
  #allLanded({ bytes, beganMs }: IssuedWave, looksAhead: boolean, meter: TokenMeter, signal?: AbortSignal): void {
    const { limits, clock } = this.parts;
    if (bytes > 0) {
      meter.readsLanded();
      limits?.readsTook(bytes, clock() - beganMs);
    }
    limits?.idleFrom(clock());
    if (looksAhead) this.lookAhead.next?.begin(this.#choice, meter, signal);
  }

  /** Waits for the first `runs` of a batch, or for all of it. */
  async #land(reader: FlashReader, runs: number | undefined, meter: TokenMeter): Promise<void> {
    // The reader may wait without giving the thread back.
    meter.enter("readWait");
    const pending = reader.wait(runs);
    if (pending) await pending;
  }
}
