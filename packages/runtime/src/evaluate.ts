/**
 * Quality beside cost: perplexity on a text, agreement with another run of the same tokens, what the predictor names and
 * misses, and the flash bytes that decoding this text would have read.
 */
import { hasExperts, InputError, isActive, type SparsityStatistics, unitsByLayer } from "@flashwick/core";
import { UNION_TOKENS } from "@flashwick/cost-model";
import { createNeuronCache, type NeuronCache } from "@flashwick/dram-cache";
import { SparsityTally } from "@flashwick/predictor";
import { cachePolicy } from "./cache-policy.js";
import { ComparedRun } from "./compared-run.js";
import type { Engine } from "./engine.js";
import { prefersCached } from "./engine-config.js";
import type { EvaluateOptions, EvaluateResult, UnitResult } from "./evaluation.js";
import { ExpertTally } from "./expert-tally.js";
import type { ForwardObserver } from "./forward-observer.js";
import type { Model } from "./model.js";
import { argmax, logSumExp } from "./sampler.js";
import { type OnStretch, stretchObserver } from "./stretch-observer.js";

/**
 * Perplexity as the reference defines it: tokens without special ones are cut into windows of `windowTokens − 1`, a shorter
 * tail is dropped, each window is preceded by BOS.
 *
 * @throws {InputError} for a text shorter than one window, or a comparison with `dense` in an engine whose routers or pruning prefer what its cache holds.
 */
export async function evaluateText(model: Model, text: string, options: EvaluateOptions = {}): Promise<EvaluateResult> {
  const { windowTokens = 256, maxWindows = Number.POSITIVE_INFINITY } = options;
  const { geometry } = model.header;
  if (!(Number.isInteger(windowTokens) && windowTokens >= 2 && windowTokens <= geometry.contextLength)) {
    throw new InputError(
      "INPUT_INVALID",
      `window of ${windowTokens} tokens, expected an integer from 2 to the context length ${geometry.contextLength}`,
    );
  }
  const windows = cutWindows(model.tokenizer.encode(text, false), windowTokens, geometry.bosTokenId).slice(
    0,
    maxWindows,
  );
  if (windows.length === 0) {
    throw new InputError(
      "INPUT_INVALID",
      `the text is shorter than one window of ${windowTokens} tokens; give a longer text or a shorter window`,
    );
  }
  const tally = hasExperts(geometry)
    ? new ExpertTally(model.header, options)
    : new NeuronTally(unitsByLayer(geometry), options);
  const { prefersResidentExperts, config, mode } = model;
  if (options.against === "dense" && (prefersResidentExperts || prefersCached(config))) throw sharesCache();
  const quality = new QualityTally();
  // What routers prefer of the cache, a batch cannot, and what pruned FFNs read, a batch does not: then each token is decoded by itself.
  const decodes = prefersResidentExperts || mode === "pruned";
  let flashBytes = 0;
  const total = windows.length * windowTokens;
  const others = new ComparedRun(model, windows, options);
  for (const [index, window] of windows.entries()) {
    const other = await others.logits(index);
    await model.withSequence(
      windowTokens,
      async (sequence) => {
        await tally.prepare(sequence.engine, options.signal);
        tally.beginWindow();
        const onLogits = (position: number, logits: Float32Array) => {
          const target = window[position + 1];
          if (target !== undefined) quality.add(logits, target, other ? other[position]! : null);
        };
        const observer = tally.observer(sequence.engine);
        const { signal } = options;
        const { engine } = sequence;
        const chooser = decodes ? engine.chooser : engine.batchChooserAt(options.thresholdByLayer);
        for (const step of decodes ? window.map((token) => [token]) : [window]) {
          const stats = await sequence.extend(step, { chooser, logits: "all", onLogits, observer, signal });
          for (const ofStep of stats) flashBytes += ofStep.flashBytes;
        }
      },
      options,
    );
    options.onProgress?.({ phase: "evaluate", loaded: (index + 1) * windowTokens, total, unit: "tokens" });
  }
  const found = { ...quality.result(windows.length), ...tally.result(model) };
  return mode === "pruned" ? { ...found, flashBytesPerToken: flashBytes / total } : found;
}

function sharesCache(): InputError {
  return new InputError(
    "INPUT_INVALID",
    "with residentMargin of a mixture's experts, or a pruning gamma below 1, what is used depends on the cache, which a dense run in the same engine fills with its own; compare with a second model",
  );
}

/** BOS and `windowTokens − 1` tokens each; the tail is dropped. */
export function cutWindows(tokens: readonly number[], windowTokens: number, bos: number | null): number[][] {
  const body = bos === null ? windowTokens : windowTokens - 1;
  const windows: number[][] = [];
  for (let at = 0; at + body <= tokens.length; at += body) {
    const window = tokens.slice(at, at + body);
    windows.push(bos === null ? window : [bos, ...window]);
  }
  return windows;
}

/** Perplexity and agreement. */
export class QualityTally {
  #nll = 0;
  #tokens = 0;
  #otherNll = 0;
  #same = 0;
  #kl = 0;
  #maxKl = 0;
  #compared = false;

  add(logits: Float32Array, target: number, other: Float32Array | null): void {
    const sum = logSumExp(logits);
    this.#nll += sum - logits[target]!;
    this.#tokens++;
    if (!other) return;
    this.#compared = true;
    const otherSum = logSumExp(other);
    this.#otherNll += otherSum - other[target]!;
    if (argmax(logits) === argmax(other)) this.#same++;
    let kl = 0;
    for (let i = 0; i < other.length; i++) {
      const logP = other[i]! - otherSum;
      kl += Math.exp(logP) * (logP - (logits[i]! - sum));
    }
    this.#kl += kl;
    this.#maxKl = Math.max(this.#maxKl, kl);
  }

  result(windows: number): Pick<EvaluateResult, "perplexity" | "meanNll" | "tokens" | "windows" | "against"> {
    const n = this.#tokens;
    const meanNll = this.#nll / n;
    return {
      perplexity: Math.exp(meanNll),
      meanNll,
      tokens: n,
      windows,
      against: this.#compared
        ? {
            perplexity: Math.exp(this.#otherNll / n),
            meanNll: this.#otherNll / n,
            top1Agreement: this.#same / n,
            meanKl: this.#kl / n,
            maxKl: this.#maxKl,
          }
        : null,
    };
  }
}

/** Σ activation · norm of the down column over a token's active neurons, and over those that were not named. */
interface TokenMass {
  all: number;
  missed: number;
}

/** What is active, named and missed, and what a cache of the engine's size would have had to read. */
class NeuronTally {
  readonly #nLayers: number;
  /** By layer. */
  readonly #widths: readonly number[];
  readonly #widest: number;
  readonly #active: Float64Array;
  readonly #named: Float64Array;
  readonly #hit: Float64Array;
  readonly #mass: Float64Array;
  readonly #missed: Float64Array;
  #tokens = 0;
  #norms: readonly Float64Array[] | null = null;
  /** Shadows of the engine's caches: a batch streams layers, so decoding is replayed beside it. */
  #caches: NeuronCache[] = [];
  /** Sets of the batch in progress: by layer, by token, gathered stretch by stretch. */
  #sets: number[][] = [];
  /** Masses of its tokens: each is summed in the order of neurons, so that nothing depends on how a layer or a text is cut. */
  #batch: TokenMass[] = [];
  readonly #sparsity: SparsityTally;

  constructor(
    widths: readonly number[],
    private readonly known: Pick<EvaluateOptions, "downNorms" | "slotsByLayer">,
  ) {
    const nLayers = widths.length;
    this.#nLayers = nLayers;
    this.#widths = widths;
    this.#widest = Math.max(...widths);
    this.#sparsity = new SparsityTally(nLayers, widths);
    const zeros = () => new Float64Array(nLayers);
    [this.#active, this.#named, this.#hit, this.#mass, this.#missed] = [zeros(), zeros(), zeros(), zeros(), zeros()];
  }

  async prepare(engine: Engine, signal?: AbortSignal): Promise<void> {
    if (this.#norms) return;
    const { downNorms, slotsByLayer } = this.known;
    const { plan, config } = engine.parts;
    // Norms weigh what is missed, and a dense run misses nothing.
    const unweighed = () => this.#widths.map((dFf) => new Float64Array(dFf).fill(1));
    this.#norms = downNorms ?? (config.mode === "dense" ? unweighed() : await engine.downNorms(signal));
    this.#caches = this.#widths.map((dFf, layer) => {
      const slotCount = (slotsByLayer ?? plan.slotsByLayer)[layer]!;
      return createNeuronCache({ dFf, slotCount, policy: cachePolicy(config.policy, dFf) });
    });
  }

  observer(engine: Engine): ForwardObserver {
    return stretchObserver(engine, this.#onStretch);
  }

  readonly #onStretch: OnStretch = (layer, first, count, nTokens, act, rowLength, named) => {
    const norms = this.#norms![layer]!;
    if (first === 0) {
      this.#sets = Array.from({ length: nTokens }, () => []);
      this.#batch = Array.from({ length: nTokens }, () => ({ all: 0, missed: 0 }));
    }
    if (layer === 0 && first === 0) this.#tokens += nTokens;
    for (let t = 0; t < nTokens; t++) {
      const set = this.#sets[t]!;
      const sum = this.#batch[t]!;
      for (let i = 0; i < count; i++) {
        const value = act[t * rowLength + i]!;
        const isNamed = named === null ? isActive(value) : named[t * this.#widest + first + i] === 1;
        if (isNamed) set.push(first + i);
        if (isActive(value)) {
          const mass = Math.abs(value) * norms[first + i]!;
          this.#active[layer]!++;
          sum.all += mass;
          if (isNamed) this.#hit[layer]!++;
          else sum.missed += mass;
        }
      }
    }
    if (first + count === this.#widths[layer]) {
      for (const { all, missed } of this.#batch) {
        this.#mass[layer]! += all;
        this.#missed[layer]! += missed;
      }
      for (const set of this.#sets) {
        this.#named[layer]! += set.length;
        this.#sparsity.add(layer, set);
        for (const _ of this.#caches[layer]!.admit(Uint32Array.from(set)));
      }
    }
  };

  /** Nothing carries over between windows but what the caches hold. */
  beginWindow(): void {
    this.#sets = [];
    this.#sparsity.begin();
  }

  #statistics(perLayer: readonly number[]): SparsityStatistics {
    const statistics = this.#sparsity.statistics(`${this.#tokens} tokens of text`, UNION_TOKENS);
    const layers = statistics.layers.map((layer, l) => ({ ...layer, activeShare: this.#active[l]! / perLayer[l]! }));
    return { ...statistics, layers };
  }

  result({ mode, header }: Pick<Model, "mode" | "header">): UnitResult {
    // Every neuron is named and read, whatever is active.
    const dense = mode === "dense";
    const { slotBytes } = header.weights;
    const perLayer = this.#widths.map((dFf) => this.#tokens * dFf);
    const sum = (values: Float64Array | readonly number[]) => Array.from(values).reduce((a, b) => a + b, 0);
    const shares = (values: Float64Array) => Array.from(values, (value, l) => value / perLayer[l]!);
    const ratios = (top: Float64Array, bottom: Float64Array, none: number) =>
      Array.from(top, (value, l) => (bottom[l]! > 0 ? value / bottom[l]! : none));
    const misses = this.#caches.reduce((total, cache) => total + cache.counters.misses, 0);
    const active = sum(this.#active);
    const mass = sum(this.#mass);
    const named = dense ? sum(perLayer) : sum(this.#named);
    const streamed = sum(this.#widths.map((dFf, l) => (this.#caches[l]!.slotCount === dFf ? 0 : dFf)));
    return {
      activeShareByLayer: shares(this.#active),
      namedShareByLayer: dense ? new Array(this.#nLayers).fill(1) : shares(this.#named),
      recall: active > 0 ? sum(this.#hit) / active : 1,
      recallByLayer: ratios(this.#hit, this.#active, 1),
      missedMass: mass > 0 ? sum(this.#missed) / mass : 0,
      missedMassByLayer: ratios(this.#missed, this.#mass, 0),
      namedOverActive: active > 0 ? named / active : 1,
      sparsity: this.#statistics(perLayer),
      flashBytesPerToken: dense ? streamed * slotBytes : (misses * slotBytes) / this.#tokens,
    };
  }
}
