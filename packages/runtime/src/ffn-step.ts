/**
 * The FFN of a step: who chooses, when, and whether what is chosen goes through the slots or is streamed.
 */
import { activationOf, paddedLength, widestFfn } from "@flashwick/core";
import type { NeuronCache } from "@flashwick/dram-cache";
import { ALL_NEURONS, type Choice, type Chooser } from "./chooser.js";
import type { ColumnLayer, EngineLayer, MatrixLayer, MixtureLayer, RecordLayer } from "./engine-layer.js";
import type { EngineParts } from "./engine-parts.js";
import type { StepOptions } from "./engine-step.js";
import type { ChosenRoute } from "./expert-choice.js";
import type { ForwardObserver, ResidentUnits } from "./forward-observer.js";
import type { ForwardPass } from "./forward-pass.js";
import type { StreamAhead } from "./layer-stream.js";
import { PredictorChooser } from "./predictor-chooser.js";
import type { FfnPruner } from "./pruning/ffn-pruner.js";
import { computePruned } from "./pruning/pruned-ffn.js";
import type { TokenMeter } from "./token-meter.js";

/** What was chosen before attention, and whether the cache has admitted it. */
export interface EarlyChoice {
  readonly choice: Choice;
  readonly isAdmitted: boolean;
}

/** The engine whose FFNs they are. */
interface FfnEngine extends ResidentUnits {
  readonly parts: EngineParts;
  readonly chooser: Chooser;
  readonly meter: TokenMeter;
}

export class FfnStep {
  readonly #engine: FfnEngine;
  readonly #meter: TokenMeter;
  readonly #forward: ForwardPass;
  readonly #ahead: StreamAhead;
  /** The caches that the tokens of the last step were admitted to: of a layer each, or one of several. */
  readonly admittedTo = new Set<NeuronCache>();
  /** u8 of scratch, as many as the widest layer has neurons. */
  readonly #counted: Uint8Array;

  constructor(engine: FfnEngine, forward: ForwardPass, ahead: StreamAhead) {
    this.#engine = engine;
    this.#meter = engine.meter;
    this.#forward = forward;
    this.#ahead = ahead;
    this.#counted = new Uint8Array(widestFfn(engine.parts.file.header.geometry));
  }

  /**
   * What makes reads fly during attention. In a parallel block the FFN's input is known before attention: sets are chosen, admitted and begun to
   * be read, once and for all. Elsewhere a predictor may guess from the layer's input.
   *
   * @returns What was chosen; null if that comes after attention.
   */
  async beforeAttention(
    layer: EngineLayer,
    n: number,
    chooser: Chooser,
    options: StepOptions,
  ): Promise<EarlyChoice | null> {
    const { overlap, lookahead } = this.#engine.parts.config;
    if (chooser === ALL_NEURONS || chooser.pruner || layer.storage !== "records") return null;
    if (layer.geometry.parallel) {
      if (!overlap || options.observer?.activations) return null;
      await this.#computeGates(layer, n);
      const chosen = this.#choose(layer, n, chooser, options);
      const choice = chosen instanceof Promise ? await chosen : chosen;
      const isAdmitted = choice !== "all" && this.#isNarrow(layer, choice);
      if (isAdmitted) await layer.sparse.admit(choice, this.#meter, options.signal);
      return { choice, isAdmitted };
    }
    if (lookahead !== "off" && n === 1 && chooser instanceof PredictorChooser) {
      this.#meter.enter("predict");
      this.#forward.normFfnInput(layer, 1);
      layer.sparse.anticipate(await chooser.name(layer, 0), this.#meter, options.signal);
    }
    return null;
  }

  /** Where gates are resident they are computed for all neurons, before any is chosen. */
  async #computeGates({ slots, context }: RecordLayer, n: number): Promise<void> {
    const { gate } = slots.parts;
    if (!gate) return;
    this.#meter.enter("ffn");
    const pending = gate.compute(context.workspace.ffnInput, n);
    if (pending) await pending;
  }

  #choose(layer: RecordLayer, n: number, chooser: Chooser, options: StepOptions): Choice | Promise<Choice> {
    if (chooser === ALL_NEURONS) return "all";
    this.#meter.enter("predict");
    const choice = chooser.choose(layer, n, this.#meter, options.signal);
    if (choice instanceof Promise) return choice.then((sets) => this.#showChoice(layer, sets, options));
    return this.#showChoice(layer, choice, options);
  }

  #showChoice({ index }: RecordLayer, choice: Choice, { observer }: StepOptions): Choice {
    if (choice !== "all" && observer?.named) {
      for (const [row, set] of choice.entries()) observer.named(index, set, this.#engine, row);
    }
    return choice;
  }

  /** Whether sets are better read neuron by neuron than the layer streamed in order. One token's set always is. */
  #isNarrow({ slots }: RecordLayer, sets: readonly Uint32Array[]): boolean {
    if (sets.length === 1) return true;
    const { cache, dFf } = slots.parts;
    const counted = this.#counted.fill(0);
    let absent = 0;
    for (const set of sets) {
      for (const neuron of set) {
        if (counted[neuron] === 1 || cache.slotOf(neuron) >= 0) continue;
        counted[neuron] = 1;
        absent++;
      }
    }
    return absent <= this.#engine.parts.config.streamShare * dFf;
  }

  /**
   * blockOut += the FFN of each token over its set.
   *
   * @param early What `beforeAttention` returned.
   */
  async compute(
    layer: EngineLayer,
    n: number,
    chooser: Chooser,
    early: EarlyChoice | null,
    options: StepOptions,
  ): Promise<void> {
    const { observer, signal } = options;
    const { blockOut, ffnInput } = layer.context.workspace;
    await this.#showInput(layer, n, observer);
    if (layer.storage === "columns") return await this.#addColumns(layer, n, chooser.pruner ?? null, options);
    if (chooser.pruner) return await this.#prune(layer, n, chooser.pruner, options);
    if (layer.storage === "matrices") return await this.#multiply(layer, n, options);
    if (layer.storage === "experts") return await this.#mix(layer, n, chooser, options);
    if (!early) await this.#computeGates(layer, n);
    const chosen = early?.choice ?? this.#choose(layer, n, chooser, options);
    const choice = chosen instanceof Promise ? await chosen : chosen;
    const isAdmitted = early?.isAdmitted ?? false;
    const streams = choice === "all" || observer?.activations !== undefined;
    if (!streams && (isAdmitted || this.#isNarrow(layer, choice))) {
      if (!isAdmitted) await layer.sparse.admit(choice, this.#meter, signal);
      await layer.sparse.compute(blockOut, ffnInput, this.#meter, signal);
      this.admittedTo.add(layer.sparse.cache);
    } else {
      await this.#stream(layer, n, choice, options);
    }
  }

  /** blockOut = down · (f(gate · x) ⊙ g(up · x)), or down · f(up · x), of each token, without the bias of down. */
  async #multiply(layer: MatrixLayer, n: number, { observer, signal }: StepOptions): Promise<void> {
    const { streamed, weights, geometry, context } = layer;
    const { kernels, workspace: w } = context;
    const { dFf } = geometry.ffn;
    const pass = { nTokens: n, ahead: this.#ahead, meter: this.#meter, signal };
    this.#meter.enter("ffn");
    this.#meter.counters.named += n * dFf;
    if (streamed.isStreamed) this.#meter.counters.loaded += dFf;
    if (geometry.ffn.gated) await streamed.multiply("gate", w.gate, w.ffnInput, weights.gateBias, pass);
    await streamed.multiply("up", w.act, w.ffnInput, weights.upBias, pass);
    // Without a gate up takes its place, beside ones.
    const [gate, up] = geometry.ffn.gated ? [w.gate, w.act] : [w.act, w.gate];
    kernels.gate(w.act, gate, up, n * paddedLength(dFf), activationOf(geometry.ffn));
    observer?.activations?.(layer.index, 0, dFf, w.act, n, kernels, null);
    await streamed.multiply("down", w.blockOut, w.act, 0, pass);
  }

  async #addColumns(
    { ffn, index, context }: ColumnLayer,
    n: number,
    pruner: FfnPruner | null,
    { observer, signal }: StepOptions,
  ): Promise<void> {
    const { dFf } = ffn.parts.geometry;
    const onActivations = observer?.activations
      ? (act: number, sets: readonly Uint32Array[] | null) =>
          observer.activations!(index, 0, dFf, act, n, context.kernels, sets)
      : undefined;
    const pass = { pruner, nTokens: n, ahead: this.#ahead, meter: this.#meter, onActivations, signal };
    for (const cache of await ffn.compute(pass)) this.admittedTo.add(cache);
  }

  async #prune(
    layer: Exclude<EngineLayer, ColumnLayer>,
    n: number,
    pruner: FfnPruner,
    { observer, signal }: StepOptions,
  ): Promise<void> {
    const { dModel } = this.#engine.parts.file.header.geometry;
    const { index, geometry, context } = layer;
    const onActivations = observer?.activations
      ? (act: number, sets: readonly Uint32Array[]) =>
          observer.activations!(index, 0, geometry.ffn.dFf, act, n, context.kernels, sets)
      : undefined;
    const pass = { nTokens: n, ahead: this.#ahead, meter: this.#meter, onActivations, signal };
    await computePruned(layer, dModel, pruner, pass);
  }

  /** blockOut = the layer's experts of each token, weighted. */
  async #mix(
    { mixture, context, index }: MixtureLayer,
    n: number,
    { experts }: Chooser,
    { observer, signal }: StepOptions,
  ): Promise<void> {
    const { blockOut, ffnInput } = context.workspace;
    const onRoutes = (routes: readonly ChosenRoute[]) => {
      for (const [row, route] of routes.entries()) {
        observer?.named?.(index, route.used.experts, this.#engine, row);
        observer?.routed?.(index, route, row);
      }
    };
    const isRouted = await mixture.compute(blockOut, ffnInput, n, this.#meter, { choice: experts, signal, onRoutes });
    if (isRouted && mixture.slots) this.admittedTo.add(mixture.slots.cache);
  }

  async #stream(layer: RecordLayer, n: number, choice: Choice, options: StepOptions): Promise<void> {
    const { observer, signal } = options;
    const { blockOut, ffnInput } = layer.context.workspace;
    const sets = choice === "all" ? null : choice;
    const onActivations = observer?.activations
      ? (first: number, count: number, act: number, nTokens: number) =>
          observer.activations!(layer.index, first, count, act, nTokens, layer.context.kernels, sets)
      : undefined;
    const keep = choice === "all" ? await this.#setsToKeep(layer, n, options) : [];
    const request = { nTokens: n, sets, onActivations, keep, signal };
    await layer.streamed.compute(blockOut, ffnInput, request, this.#ahead, this.#meter);
  }

  /** Whether a step that uses all neurons fills the caches for decoding. */
  refills({ seedTokens = 0 }: StepOptions): boolean {
    return seedTokens > 0 && this.#engine.chooser.chooseForLast !== undefined;
  }

  /** What the last tokens of the step would use while decoding, oldest first. */
  async #setsToKeep(layer: RecordLayer, n: number, options: StepOptions): Promise<readonly Uint32Array[]> {
    const { chooser } = this.#engine;
    if (!this.refills(options) || !chooser.chooseForLast) return [];
    this.#meter.enter("predict");
    return await chooser.chooseForLast(layer, n, options.seedTokens!);
  }

  async #showInput({ context, index }: EngineLayer, n: number, observer: ForwardObserver | undefined): Promise<void> {
    if (!observer?.ffnInput) return;
    const { kernels, workspace } = context;
    await kernels.take(workspace.ffnInput, 4 * n * paddedLength(this.#engine.parts.file.header.geometry.dModel));
    await observer.ffnInput(index, workspace.ffnInput, n, kernels);
  }
}
