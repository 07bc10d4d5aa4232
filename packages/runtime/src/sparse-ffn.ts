/**
 * One layer's FFN over chosen neurons, through the slots.
 *
 * Invariants. Sums run in ascending neuron order whatever is resident, and however the union of the tokens' sets is cut into waves, and each
 * token uses its own set only, so the result is the same bit for bit whichever tokens are computed together. When anything fails half-way the
 * cache forgets all it holds: a slot never claims a neuron that did not arrive whole.
 *
 * What overlaps. A neuron's activation depends on no other neuron, so resident neurons are multiplied while the missing ones are read, and
 * these as they land; only the sum over all of them, whose order is fixed, waits for the last. Between `admit` and `compute` the caller may
 * compute something else: attention, in a parallel block.
 */
import { type ActivationFunction, assert, paddedLength } from "@flashwick/core";
import type { CacheWave, NeuronCache } from "@flashwick/dram-cache";
import type { FlashRun } from "@flashwick/flash-io";
import type { Ptr } from "@flashwick/kernels";
import { maskNonMembers } from "./member-mask.js";
import type { NeuronSlots } from "./neuron-slots.js";
import type { TokenMeter } from "./token-meter.js";

/** Landed neurons are computed in so many groups, of at least so many neurons. */
const LANDING_GROUPS = 4;
const LEAST_GROUP_NEURONS = 32;
/** Of the slots, what guesses may take: a guess must not push out what it takes for granted. */
const MOST_ANTICIPATED_SHARE = 1 / 2;

export interface SparseFfnParts {
  readonly slots: NeuronSlots;
  readonly activation: ActivationFunction;
  /** f32 `[dFf]` of scratch outside the arena; shared by all layers. */
  readonly reordered: Float32Array;
  /** False: every read is waited for before anything is computed. */
  readonly overlap: boolean;
}

/** Neurons that were read before they were named. */
interface Anticipated {
  readonly neurons: Uint32Array;
  readonly runs: readonly FlashRun[];
}

/** A wave whose missing neurons are being read. */
interface IssuedWave {
  readonly wave: CacheWave;
  readonly runs: readonly FlashRun[];
}

/** What the tokens of a step use, in waves, of which the first is being read. */
interface AdmittedStep {
  readonly sets: readonly Uint32Array[];
  readonly waves: Iterator<CacheWave>;
  readonly first: IssuedWave;
}

export class SparseFfn {
  readonly #parts: SparseFfnParts;
  readonly #slots: NeuronSlots;
  /** Neurons being read, or just arrived, that the next token will probably name; null if none. */
  #anticipated: Anticipated | null = null;
  /** Between `admit` and `compute`. */
  #admitted: AdmittedStep | null = null;

  constructor(parts: SparseFfnParts) {
    this.#parts = parts;
    this.#slots = parts.slots;
  }

  /**
   * Begins to read what `guess` names and the cache lacks, and returns at once; the next `admit` waits for it. A wrong guess
   * costs reads and slots, never a result.
   *
   * @param guess Ascending neurons.
   */
  anticipate(guess: Uint32Array, meter: TokenMeter, signal?: AbortSignal): void {
    const { cache } = this.#slots;
    meter.enter("cache");
    const wave = cache.anticipate(guess, Math.floor(cache.slotCount * MOST_ANTICIPATED_SHARE));
    if (wave.neurons.length === 0) return;
    try {
      this.#anticipated = { neurons: wave.neurons.slice(), runs: this.#issueReads(wave, meter, signal) };
    } catch (error) {
      // The cache has them already, and nothing will bring them.
      cache.clear();
      throw error;
    }
  }

  get cache(): NeuronCache {
    return this.#slots.cache;
  }

  /** After a failure elsewhere, when no read is in flight: forgets what was anticipated or admitted, with all else. */
  abandon(): void {
    if (!this.#anticipated && !this.#admitted) return;
    this.#anticipated = null;
    this.#admitted = null;
    this.#slots.cache.clear();
  }

  /**
   * Takes in what the tokens of a step use: the cache makes room for their union, and reads of the first wave's missing neurons are issued.
   * `compute` must follow; anything that uses neither this layer nor the reader may come between.
   *
   * @param sets A set for each token, ascending neurons; unchanged until the next `admit`.
   */
  async admit(sets: readonly Uint32Array[], meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { cache } = this.#slots;
    try {
      if (this.#anticipated) await this.#awaitAnticipated(this.#anticipated, meter);
      meter.enter("cache");
      const waves = cache.admit(sets)[Symbol.iterator]();
      const first = waves.next();
      assert(!first.done, "a step has a wave, however little it names");
      this.#admitted = { sets, waves, first: this.#issue(first.value, sets, meter, signal) };
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  /**
   * out[t] += Σ over the neurons admitted for token t of f(up · x[t] + bias) · down.
   *
   * @param out f32 `[nTokens, pad(dModel)]`.
   */
  async compute(out: Ptr, x: Ptr, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { kernels, workspace } = this.#slots.parts;
    assert(this.#admitted, "a step is admitted before it is computed");
    const { sets, waves, first } = this.#admitted;
    this.#admitted = null;
    try {
      let issued: IssuedWave | null = first;
      while (issued) {
        await this.#activate(issued, sets, x, meter);
        meter.enter("ffn");
        const { neurons } = issued.wave;
        kernels.ffnDown(out, workspace.act, this.#slots.matrix, workspace.slots, neurons.length, sets.length);
        meter.enter("cache");
        const next = waves.next();
        issued = next.done ? null : this.#issue(next.value, sets, meter, signal);
      }
    } catch (error) {
      this.#slots.cache.clear();
      throw error;
    }
  }

  /** Executes a wave's moves, issues its reads, and counts it. */
  #issue(wave: CacheWave, sets: readonly Uint32Array[], meter: TokenMeter, signal?: AbortSignal): IssuedWave {
    const named = sets.length === 1 ? wave.neurons.length : namedIn(sets, wave.neurons);
    meter.counters.named += named;
    meter.counters.hits += named - wave.misses.length;
    meter.counters.misses += wave.misses.length;
    meter.counters.loaded += wave.misses.length;
    return { wave, runs: this.#issueReads(wave, meter, signal) };
  }

  #issueReads(wave: CacheWave, meter: TokenMeter, signal?: AbortSignal): FlashRun[] {
    const { kernels, reader } = this.#slots.parts;
    this.#slots.prepareWave(wave);
    const runs = this.#slots.planWave(wave);
    if (runs.length > 0) {
      // A reader without threads reads here and now.
      meter.enter("readWait");
      meter.readsIssued();
      reader.start(kernels.arena.bytes, runs, signal);
    }
    return runs;
  }

  /**
   * Executes a wave up to its activations, which end up in `workspace.act` in ascending neuron order, with the slots in
   * `workspace.slots`.
   */
  async #activate({ wave, runs }: IssuedWave, sets: readonly Uint32Array[], x: Ptr, meter: TokenMeter): Promise<void> {
    const { activation } = this.#parts;
    const { kernels, workspace, reader, slotBase, gate } = this.#slots.parts;
    // A device multiplies a layer's neurons in the time that one more submission takes: it has them all at once.
    const overlap = this.#parts.overlap && !kernels.mirrored;
    const n = wave.neurons.length;
    const nTokens = sets.length;
    const anticipated = this.#anticipated;
    this.#anticipated = null;
    meter.enter("cache");
    if (anticipated) this.#arriveAnticipated(anticipated.neurons, meter);
    // In order of arrival: what is there already, then the missing ones.
    const slots = kernels.arena.u32(workspace.slots, n);
    const hits = wave.hits.length;
    for (let i = 0; i < hits; i++) slots[i] = wave.slots[wave.hits[i]!]!;
    for (let i = hits; i < n; i++) slots[i] = wave.slots[wave.misses[i - hits]!]!;
    const arrived = (i: number) => wave.neurons[i < hits ? wave.hits[i]! : wave.misses[i - hits]!]!;
    const up = (begin: number, end: number, neuronOf = arrived) => {
      const { act, slots: list, scratch } = workspace;
      meter.enter("ffn");
      gate?.give(n, nTokens, begin, end, neuronOf);
      kernels.ffnUp(act, x, this.#slots.matrix, list, n, nTokens, activation, scratch, begin, end);
    };
    if (overlap) up(0, hits);
    // What was recorded before, attention in a parallel block, need not wait for flash.
    kernels.submit();
    let landed = 0;
    for (const { runCount, picks } of this.#landingGroups(runs, n - hits)) {
      meter.enter("readWait");
      const pending = reader.wait(runCount);
      if (pending) await pending;
      if (runCount === runs.length) meter.readsLanded();
      meter.enter("cache");
      const first = landed;
      this.#slots.check(picks - first, (i) => wave.neurons[wave.misses[first + i]!]!, slotBase, meter, hits + first);
      if (overlap) up(hits + landed, hits + picks);
      landed = picks;
    }
    meter.countReads(runs);
    if (overlap) {
      if (hits > 0 && hits < n) this.#ascend(wave, nTokens);
    } else {
      slots.set(wave.slots);
      kernels.put(workspace.slots, 4 * n);
      up(0, n, (i) => wave.neurons[i]!);
    }
    if (nTokens > 1) await this.#mask(wave, sets);
  }

  /** Of each token, leaves only the activations of its own set. */
  async #mask(wave: CacheWave, sets: readonly Uint32Array[]): Promise<void> {
    const { kernels, workspace } = this.#slots.parts;
    const rowLength = paddedLength(wave.neurons.length);
    const bytes = 4 * sets.length * rowLength;
    const pending = kernels.take(workspace.act, bytes);
    if (pending) await pending;
    maskNonMembers(kernels.arena.f32(workspace.act, bytes / 4), rowLength, wave.neurons, sets);
    kernels.put(workspace.act, bytes);
  }

  /** Waits for what was anticipated: a reader does one batch at a time. */
  async #awaitAnticipated({ runs }: Anticipated, meter: TokenMeter): Promise<void> {
    meter.enter("readWait");
    try {
      const pending = this.#slots.parts.reader.wait();
      if (pending) await pending;
    } catch (error) {
      this.#anticipated = null;
      throw error;
    }
    meter.readsLanded();
    meter.countReads(runs);
  }

  /**
   * Checks what was anticipated and still has a slot, wherever it has been moved to. Of what the token names, the first wave has
   * made hits: they are counted as what they are, neurons that had to be read.
   */
  #arriveAnticipated(neurons: Uint32Array, meter: TokenMeter): void {
    const { kernels, workspace, cache, slotBase } = this.#slots.parts;
    const held = neurons.filter((neuron) => cache.slotOf(neuron) >= 0);
    const slots = kernels.arena.u32(workspace.slots, held.length);
    for (let i = 0; i < held.length; i++) slots[i] = cache.slotOf(held[i]!);
    this.#slots.check(held.length, (i) => held[i]!, slotBase, meter);
    const used = held.filter((neuron) => cache.lastKActive[cache.slotOf(neuron)]! > 0).length;
    meter.counters.loaded += neurons.length;
    meter.counters.hits -= used;
    meter.counters.misses += used;
  }

  /** From the order of arrival to that of neurons. */
  #ascend(wave: CacheWave, nTokens: number): void {
    const { kernels, workspace } = this.#slots.parts;
    const { reordered } = this.#parts;
    const n = wave.neurons.length;
    const hits = wave.hits.length;
    for (let t = 0; t < nTokens; t++) {
      const act = kernels.arena.f32(workspace.act + 4 * t * paddedLength(n), n);
      for (let i = 0; i < hits; i++) reordered[wave.hits[i]!] = act[i]!;
      for (let i = hits; i < n; i++) reordered[wave.misses[i - hits]!] = act[i]!;
      act.set(reordered.subarray(0, n));
    }
    kernels.arena.u32(workspace.slots, n).set(wave.slots);
  }

  /** After how many runs to look, and how many misses are there then. Split halves arrive one after the other: one group. */
  #landingGroups(runs: readonly FlashRun[], misses: number): { readonly runCount: number; readonly picks: number }[] {
    if (runs.length === 0) return [];
    if (!this.#parts.overlap || this.#slots.parts.places.length > 1) return [{ runCount: runs.length, picks: misses }];
    const least = Math.max(LEAST_GROUP_NEURONS, Math.ceil(misses / LANDING_GROUPS));
    const groups: { readonly runCount: number; readonly picks: number }[] = [];
    let picks = 0;
    let before = 0;
    for (const [index, run] of runs.entries()) {
      picks += run.picks;
      if (picks - before < least && index + 1 < runs.length) continue;
      groups.push({ runCount: index + 1, picks });
      before = picks;
    }
    return groups;
  }
}

/** How often the neurons of a wave are named, over all tokens. */
function namedIn(sets: readonly Uint32Array[], wave: Uint32Array): number {
  if (wave.length === 0) return 0;
  const [low, high] = [wave[0]!, wave.at(-1)!];
  let count = 0;
  for (const set of sets) for (const neuron of set) if (neuron >= low && neuron <= high) count++;
  return count;
}
