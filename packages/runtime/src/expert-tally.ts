/** What evaluating a text with a mixture of experts finds out beside quality: experts used and missed, and the flash bytes of decoding it. */
import { assert, unitGrid, unitsByLayer } from "@flashwick/core";
import { UNION_TOKENS } from "@flashwick/cost-model";
import { createNeuronCache, type NeuronCache } from "@flashwick/dram-cache";
import { bytesOfExpert, type ModelHeader } from "@flashwick/flash-format";
import { SparsityTally } from "@flashwick/predictor";
import { cachePolicy } from "./cache-policy.js";
import type { Engine } from "./engine.js";
import type { EvaluateOptions, UnitResult } from "./evaluation.js";
import type { ChosenRoute } from "./expert-choice.js";
import type { ForwardObserver } from "./forward-observer.js";

/** Sums of one layer: experts used, wanted, and both; router weights of all wanted ones, and of those among them that were not used. */
interface LayerSums {
  used: number;
  wanted: number;
  both: number;
  weight: number;
  missedWeight: number;
}

export class ExpertTally {
  readonly #header: ModelHeader;
  readonly #known: Pick<EvaluateOptions, "slotsByLayer">;
  readonly #layers: LayerSums[];
  readonly #sparsity: SparsityTally;
  /** Of the sequence in progress, by `[layer][token]`. */
  #sets: Uint32Array[][] = [];
  /** Shadows of the engine's caches, since a batch is not decoding; by layer, in a pool all one. */
  #caches: readonly (NeuronCache | null)[] = [];
  #isPooled = false;
  #tokens = 0;
  #missedBytes = 0;

  constructor(header: ModelHeader, known: Pick<EvaluateOptions, "slotsByLayer">) {
    this.#header = header;
    this.#known = known;
    const { nLayers, dFf } = unitGrid(header.geometry);
    this.#layers = Array.from({ length: nLayers }, () => ({ used: 0, wanted: 0, both: 0, weight: 0, missedWeight: 0 }));
    this.#sparsity = new SparsityTally(nLayers, dFf);
    this.#forget();
  }

  async prepare({ parts }: Engine): Promise<void> {
    if (this.#caches.length > 0) return;
    const { policy, cacheScope } = parts.config;
    // What was preferred was in the engine's own slots.
    const own = parts.config.residentMargin > 0 ? parts.plan.slotsByLayer : undefined;
    const slots = own ?? this.#known.slotsByLayer ?? parts.plan.slotsByLayer;
    this.#isPooled = cacheScope === "pool";
    if (!this.#isPooled) {
      this.#caches = unitsByLayer(this.#header.geometry).map((dFf, layer) =>
        dFf === 0 ? null : createNeuronCache({ dFf, slotCount: slots[layer]!, policy: cachePolicy(policy, dFf) }),
      );
      return;
    }
    const { nLayers, dFf: most } = unitGrid(this.#header.geometry);
    const dFf = nLayers * most;
    const slotCount = slots.reduce((sum, n) => sum + n, 0);
    const pool = createNeuronCache({ dFf, nLayers, slotCount, policy: cachePolicy(policy, dFf, nLayers) });
    this.#caches = slots.map(() => pool);
  }

  observer(): ForwardObserver {
    return { routed: (layer, route) => this.#add(layer, route) };
  }

  /** Nothing carries over between sequences but what the caches hold. */
  beginWindow(): void {
    this.#settle();
    this.#sparsity.begin();
  }

  #add(layer: number, { used, wanted }: ChosenRoute): void {
    const sums = this.#layers[layer]!;
    sums.used += used.experts.length;
    sums.wanted += wanted.experts.length;
    for (const [i, expert] of wanted.experts.entries()) {
      const isUsed = used.experts.includes(expert);
      if (isUsed) sums.both++;
      else sums.missedWeight += wanted.weights[i]!;
      sums.weight += wanted.weights[i]!;
    }
    this.#sets[layer]!.push(used.experts);
  }

  /** Token by token, as decoding goes. */
  #settle(): void {
    const { geometry, experts } = this.#header;
    const units = unitsByLayer(geometry);
    const { dFf } = unitGrid(geometry);
    const tokens = Math.max(...this.#sets.map(({ length }) => length));
    for (let token = 0; token < tokens; token++) {
      for (const [layer, sets] of this.#sets.entries()) {
        const set = sets[token] ?? new Uint32Array(0);
        assert(units[layer] === 0 || sets.length === tokens, "every mixture has routed every token");
        this.#sparsity.add(layer, set);
        const cache = this.#caches[layer];
        if (!cache || units[layer] === 0) continue;
        const before = cache.counters.misses;
        const named = this.#isPooled ? set.map((expert) => layer * dFf + expert) : set;
        for (const _ of cache.admit(named));
        this.#missedBytes += (cache.counters.misses - before) * bytesOfExpert(experts[layer]!);
      }
    }
    this.#tokens += tokens;
    this.#forget();
  }

  #forget(): void {
    this.#sets = this.#layers.map(() => []);
  }

  result(): UnitResult {
    this.#settle();
    const { geometry } = this.#header;
    const units = unitsByLayer(geometry);
    const ratio = (top: number, bottom: number, none: number) => (bottom > 0 ? top / bottom : none);
    const shares = (pick: (sums: LayerSums) => number) =>
      this.#layers.map((sums, layer) => ratio(pick(sums), this.#tokens * units[layer]!, 0));
    const total = (pick: (sums: LayerSums) => number) => this.#layers.reduce((sum, layer) => sum + pick(layer), 0);
    const activeShareByLayer = shares(({ wanted }) => wanted);
    const { layers, ...statistics } = this.#sparsity.statistics(`${this.#tokens} tokens of text`, UNION_TOKENS);
    return {
      activeShareByLayer,
      namedShareByLayer: shares(({ used }) => used),
      recall: ratio(
        total(({ both }) => both),
        total(({ wanted }) => wanted),
        1,
      ),
      recallByLayer: this.#layers.map(({ both, wanted }) => ratio(both, wanted, 1)),
      missedMass: ratio(
        total(({ missedWeight }) => missedWeight),
        total(({ weight }) => weight),
        0,
      ),
      missedMassByLayer: this.#layers.map(({ missedWeight, weight }) => ratio(missedWeight, weight, 0)),
      namedOverActive: ratio(
        total(({ used }) => used),
        total(({ wanted }) => wanted),
        1,
      ),
      sparsity: {
        ...statistics,
        layers: layers.map((layer, l) => ({ ...layer, activeShare: activeShareByLayer[l]! })),
      },
      flashBytesPerToken: this.#missedBytes / this.#tokens,
    };
  }
}
