/**
 * One token as a list of steps for one calling thread: what it computes, which reads it issues, and when it waits for them. Pure; the
 * pipeline (pipeline.ts) gives them time.
 *
 * One after the other     attention · [resident gate] · predict · cache · [issue · hits · wait · check · misses] for each wave
 * Side by side            predict · cache · issue · attention · hits · wait · check · misses
 * With lookahead          guess · issue guesses · attention · predict · cache · drop wrong guesses · issue the rest · hits · wait · …
 *
 * Without overlap the wait follows the issue at once, so that nothing is computed while reads fly.
 */
import type { DeviceProfile } from "../device-profile.js";
import type { ModelShape } from "../model-shape.js";
import type { EngineSettings } from "../pass-request.js";
import type { ArithmeticTime } from "./arithmetic-time.js";
import { type LayerReads, layerReads, pageCacheMs, ReadBatches, readsBetween, readsCount } from "./layer-reads.js";
import type { NeuronUse } from "./neuron-use.js";
import type { ReadBatch } from "./read-queue.js";

/** What a token's time goes to; `wait`: reads that nothing is computed in. */
export const PHASES = ["attention", "guess", "predict", "cache", "wait", "check", "ffn", "head"] as const;
/** A phase of a token on the calling thread. */
export type Phase = (typeof PHASES)[number];

export type Step =
  | { readonly kind: "compute"; readonly phase: Phase; readonly ms: number }
  | { readonly kind: "issue"; readonly name: BatchName; readonly batch: ReadBatch }
  | { readonly kind: "drop" }
  | { readonly kind: "wait" };

/** `wrong`: guesses that nobody will wait for. */
export type BatchName = "wanted" | "wrong";

/** Guesses of what a layer will name, read while its attention is computed. */
export interface Lookahead {
  /** Share of the missing neurons that are guessed. */
  readonly foundShare: number;
  /** Neurons guessed and not named, over those that are missing. */
  readonly wrongShare: number;
}

export interface StepRequest {
  readonly shape: ModelShape;
  readonly profile: DeviceProfile;
  readonly settings: EngineSettings;
  readonly slotsByLayer: readonly number[];
  readonly clumping: number | null;
  readonly lookahead: Lookahead | null;
}

export class TokenSteps {
  readonly #request: StepRequest;
  readonly #time: ArithmeticTime;
  readonly #batches: ReadBatches;

  constructor(request: StepRequest, time: ArithmeticTime) {
    this.#request = request;
    this.#time = time;
    this.#batches = new ReadBatches(request.profile.flash, Math.max(1, request.settings.readers));
  }

  /** @param use By layer. @param position Tokens before this one. */
  plan(use: readonly NeuronUse[], position: number): Step[] {
    const steps: Step[] = [];
    const attentionMs = this.#time.attentionMs(position);
    for (const [layer, of] of use.entries()) this.#layer(steps, layer, of, attentionMs);
    compute(steps, "head", this.#time.headMs);
    return steps;
  }

  #layer(steps: Step[], layer: number, use: NeuronUse, attentionMs: number): void {
    const { shape, settings, slotsByLayer } = this.#request;
    const time = this.#time;
    const reads = layerReads(shape, settings, use, this.#request.clumping);
    const waves = settings.mode === "dense" ? 1 : Math.max(1, use.named / slotsByLayer[layer]!);
    // Beside its reads: a parallel block's attention needs nothing that they bring.
    const beside = shape.parallelBlock && settings.overlap && settings.readers > 0;
    const guessed = waves === 1 ? this.#guess(steps, layer, use, reads) : 0;
    if (!beside) compute(steps, "attention", attentionMs);
    compute(steps, "ffn", time.gateMs);
    compute(steps, "predict", time.predictMsByLayer[layer]!);
    compute(steps, "cache", time.cacheMs(use.named, use.missing));
    if (guessed > 0) steps.push({ kind: "drop" });
    for (let wave = 0; wave < waves; wave++) {
      const [from, to] = [wave / waves, Math.min(1, (wave + 1) / waves)];
      this.#issue(steps, "wanted", readsBetween(reads, Math.max(from, guessed), to));
      if (beside && wave === 0) compute(steps, "attention", attentionMs);
      this.#ffn(steps, use, to - from);
    }
  }

  /** Reads before attention what will probably be named after it; the share of the layer's reads that this is. */
  #guess(steps: Step[], layer: number, use: NeuronUse, reads: LayerReads): number {
    const { shape, settings, lookahead } = this.#request;
    if (lookahead === null || settings.readers === 0 || settings.mode !== "predicted" || shape.parallelBlock) return 0;
    compute(steps, "guess", this.#time.predictMsByLayer[layer]!);
    const count = readsCount(reads);
    if (count === 0) return 0;
    // Whole reads, so that the guessed ones and the rest are all of them.
    const found = Math.round(lookahead.foundShare * count) / count;
    this.#issue(steps, "wanted", readsBetween(reads, 0, found));
    const missing = Math.min(Math.round(use.missing * lookahead.wrongShare), shape.dFf - use.named);
    const wrong = { named: missing, missing };
    this.#issue(steps, "wrong", layerReads(shape, settings, wrong, this.#request.clumping));
    return found;
  }

  #issue(steps: Step[], name: BatchName, reads: LayerReads): void {
    if (reads.groups.length === 0) return;
    const { settings, profile } = this.#request;
    if (settings.readers === 0) compute(steps, "wait", pageCacheMs(profile.flash, reads));
    else steps.push({ kind: "issue", name, batch: this.#batches.batch(reads) });
  }

  /** @param share Of the layer's neurons: one wave of them. */
  #ffn(steps: Step[], { named, missing }: NeuronUse, share: number): void {
    const { overlap } = this.#request.settings;
    const ffnMs = share * this.#time.ffnMs(named, missing);
    const hitMs = overlap ? ffnMs * (1 - missing / named) : 0;
    compute(steps, "ffn", hitMs);
    steps.push({ kind: "wait" });
    compute(steps, "check", share * this.#time.checkMs(named, missing));
    compute(steps, "ffn", ffnMs - hitMs);
  }
}

function compute(steps: Step[], phase: Phase, ms: number): void {
  if (ms > 0) steps.push({ kind: "compute", phase, ms });
}

/** Reads and bytes that a plan asks for, wrong guesses included. */
export function plannedReads(steps: readonly Step[]): { readonly reads: number; readonly bytes: number } {
  let [reads, bytes] = [0, 0];
  for (const step of steps) {
    if (step.kind !== "issue") continue;
    for (const { count, sizeBytes } of step.batch.groups) {
      reads += count;
      bytes += count * sizeBytes;
    }
  }
  return { reads, bytes };
}
