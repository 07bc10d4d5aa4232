/**
 * Experts of the next layer, read before its router is asked: that router names most of them from this layer's input.
 *
 * Reads fly while flash would be idle: during the last products of this layer and the attention of the next. A wrong guess costs reads and slots, never a
 * result. A reader does one batch at a time, so this one ends before the next layer reads.
 */
import { assert, type ExpertsGeometry } from "@flashwick/core";
import type { FlashRun } from "@flashwick/flash-io";
import type { Kernels, Ptr } from "@flashwick/kernels";
import type { ExpertChoice } from "./chooser.js";
import { chooseExperts } from "./expert-choice.js";
import type { ExpertSlots } from "./expert-slots.js";
import type { LookAheadMeter } from "./look-ahead-meter.js";
import type { Linear, Norm } from "./resident-weights.js";
import type { TokenRoute } from "./router.js";
import type { TokenMeter } from "./token-meter.js";
import type { Workspace } from "./workspace.js";

export interface ExpertLookAheadParts {
  /** The next layer's. */
  readonly layer: number;
  readonly geometry: ExpertsGeometry;
  readonly norm: Norm | null;
  readonly router: Linear;
  readonly slots: ExpertSlots;
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  readonly dModel: number;
  /** How much is guessed; null: all that the router names. */
  readonly limits: LookAheadMeter | null;
}

interface Guess {
  readonly experts: Uint32Array;
  readonly runs: readonly FlashRun[];
}

export class ExpertLookAhead {
  readonly #parts: ExpertLookAheadParts;
  #guess: Guess | null = null;

  constructor(parts: ExpertLookAheadParts) {
    this.#parts = parts;
  }

  /**
   * Begins to read what the next layer will probably want and lacks. Nothing else is in flight. For a step of one token.
   *
   * @param choice How the next layer will choose.
   */
  begin(choice: ExpertChoice, meter: TokenMeter, signal?: AbortSignal): void {
    const { slots, limits, geometry, kernels } = this.#parts;
    const most = limits ? limits.most(slots.expertBytes) : geometry.chosen;
    if (most === 0) return;
    meter.enter("predict");
    const route = this.#route(choice);
    meter.enter("cache");
    const { cache } = slots;
    const units = this.#worthwhile(route, most);
    const wave = cache.anticipate(units, most);
    if (wave.neurons.length === 0) return;
    const experts = wave.neurons.map((unit) => slots.expertOf(unit));
    const runs = Array.from(experts).flatMap((expert, i) => slots.planReads(expert, wave.slots[i]!));
    meter.enter("readWait");
    meter.readsIssued();
    try {
      slots.parts.reader.start(kernels.arena.bytes, runs, signal);
    } catch (error) {
      // The cache has them already, and nothing will bring them.
      cache.clear();
      throw error;
    }
    this.#guess = { experts, runs };
  }

  /**
   * Waits for what was begun, and checks it. Of what the router has named since, this is no hit: it had to be read.
   *
   * @throws {IntegrityError} `INTEGRITY_EXPERT`. As the reader's `wait`.
   */
  async land({ experts: named }: TokenRoute, meter: TokenMeter): Promise<void> {
    const guess = this.#guess;
    if (!guess) return;
    this.#guess = null;
    const { slots, limits } = this.#parts;
    meter.enter("readWait");
    const pending = slots.parts.reader.wait();
    if (pending) await pending;
    meter.readsLanded();
    meter.countReads(guess.runs);
    for (const expert of guess.experts) {
      const slot = slots.cache.slotOf(slots.unitsOf(Uint32Array.of(expert))[0]!);
      assert(slot >= 0, "what was guessed stays until the layer is asked");
      slots.check(expert, slot, meter);
    }
    const used = guess.experts.filter((expert) => named.includes(expert)).length;
    meter.counters.loaded += guess.experts.length;
    meter.counters.hits -= used;
    meter.counters.misses += used;
    limits?.guessed(guess.experts.length, used);
  }

  /** After a failure, when no read is in flight: forgets the guess, and with it all that the cache holds. */
  abandon(): void {
    if (!this.#guess) return;
    this.#guess = null;
    this.#parts.slots.cache.clear();
  }

  /** What the next layer's router says of the residual stream before this layer's FFN is added. */
  #route(choice: ExpertChoice): TokenRoute {
    const { kernels, workspace: w, norm, router, geometry, dModel, layer, slots } = this.#parts;
    let x: Ptr = w.hidden;
    if (norm) {
      const { kind, epsilon } = norm.geometry;
      if (kind === "rms") kernels.rmsNorm(w.visitInput, w.hidden, norm.weight, dModel, 1, epsilon);
      else kernels.layerNorm(w.visitInput, w.hidden, norm.weight, norm.bias, dModel, 1, epsilon);
      x = w.visitInput;
    }
    kernels.linear(w.routerLogits, x, router.weight!, router.bias, 1, w.scratch);
    const logits = kernels.arena.f32(w.routerLogits, geometry.count);
    return chooseExperts(logits, geometry, layer, choice, slots.isResident).used;
  }

  /** The experts that are there, which must not leave for others, and of those that are not the weightiest. */
  #worthwhile({ experts, weights }: TokenRoute, most: number): Uint32Array {
    const { slots } = this.#parts;
    const units = slots.unitsOf(experts);
    const byWeight = [...units.keys()].sort((a, b) => weights[b]! - weights[a]!);
    let absent = 0;
    const kept = byWeight.filter((i) => slots.cache.slotOf(units[i]!) >= 0 || absent++ < most);
    return Uint32Array.from(kept, (i) => units[i]!).sort();
  }
}
