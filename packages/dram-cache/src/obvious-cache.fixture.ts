/** The cache as a slow, obvious model: sets, maps and sorts, nothing kept in order, no slots. What a test believes in. */
import type { CachePolicy } from "./cache-policy.js";
import { type ObviousOrder, obviousOrder } from "./obvious-orders.fixture.js";

export interface ObviousWave {
  readonly neurons: readonly number[];
  readonly misses: readonly number[];
  /** Named by a token of the step without being read for it. */
  readonly hits: number;
  readonly evicted: readonly number[];
}

export class ObviousCache {
  /** Resident neurons, and the last token that used each. */
  readonly resident = new Map<number, number>();
  /** Those that were anticipated and that no token has used, next victim first. */
  unused: number[] = [];
  /** The last token that lost a neuron for want of room. */
  brokenToken = 0;
  token = 0;
  /** The layer that was admitted last; and whether the next admit begins another step whatever its layer. */
  layer = 0;
  isOver = true;
  /** The last token before the step; then what has been resident since, with its stamp; and who had lost a neuron. */
  tokenBefore = 0;
  #stampsBefore = new Map<number, number>();
  #brokenBefore = 0;
  /** The step by layer: sets that have not been taken back, and all neurons that it named. */
  #steps = new Map<number, { sets: readonly (readonly number[])[]; neurons: readonly number[] }>();
  /** What the last admit named, and what was guessed since. */
  #kept: readonly number[] = [];
  readonly #order: ObviousOrder | null;

  constructor(
    readonly slotCount: number,
    readonly policy: CachePolicy,
    readonly nLayers = 1,
    readonly unitsPerLayer = Number.POSITIVE_INFINITY,
  ) {
    this.#order = obviousOrder(policy.name, slotCount, this);
  }

  get neurons(): number[] {
    return [...this.resident.keys()].sort((a, b) => a - b);
  }

  get effectiveWindowTokens(): number {
    return Math.min(this.policy.windowTokens, this.token - this.brokenToken);
  }

  layerOf(neuron: number): number {
    return this.nLayers === 1 ? 0 : Math.floor(neuron / this.unitsPerLayer);
  }

  /** One admit of a layer: the sets of consecutive tokens. */
  admit(sets: readonly (readonly number[])[], layer = 0): ObviousWave[] {
    const named = [...new Set(sets.flat())].sort((a, b) => a - b);
    this.#beginStep(sets.length, layer);
    this.#steps.set(layer, { sets, neurons: named });
    this.#kept = named;
    for (const set of sets) {
      this.policy.observe?.(Uint32Array.from(set));
      this.#order?.observe?.(set);
    }
    for (const neuron of named) if (this.resident.has(neuron)) this.resident.set(neuron, this.#lastUser(neuron)!);
    this.unused = this.unused.filter((neuron) => !named.includes(neuron));
    const expired = this.#drop(
      this.neurons.filter((neuron) => {
        const age = this.token - this.resident.get(neuron)!;
        const isOld = age >= this.policy.windowTokens && this.layerOf(neuron) === layer;
        return isOld && !named.includes(neuron) && !this.#isPinned(neuron);
      }),
    );
    const waves: ObviousWave[] = [];
    for (let begin = 0; begin === 0 || begin < named.length; ) {
      const wave = this.#segment(named.slice(begin));
      waves.push(this.#load(named, wave, waves.length === 0 ? expired : []));
      begin += Math.max(1, wave.length);
    }
    return waves;
  }

  /** The last tokens of the last step never were; what was read and evicted stays so. */
  retract(tokens: number): void {
    if (tokens === 0) return;
    const rejected = new Map<number, readonly (readonly number[])[]>();
    for (const [layer, step] of this.#steps) {
      const remaining = step.sets.slice(0, step.sets.length - tokens);
      rejected.set(layer, step.sets.slice(remaining.length));
      this.#steps.set(layer, { ...step, sets: remaining });
      this.token = this.tokenBefore + remaining.length;
    }
    for (const layer of [...rejected.keys()].sort((a, b) => b - a)) {
      for (const set of rejected.get(layer)!.toReversed()) {
        this.policy.unobserve?.(Uint32Array.from(set));
        this.#order?.unobserve?.(set);
      }
    }
    this.isOver = true;
    const neurons = [...this.#steps.values()].flatMap((step) => step.neurons);
    const touched = neurons.filter((neuron) => this.resident.has(neuron)).sort((a, b) => a - b);
    for (const neuron of touched) {
      this.resident.set(neuron, this.#lastUser(neuron) ?? this.#stampsBefore.get(neuron) ?? 0);
    }
    const others = this.unused.filter((neuron) => !touched.includes(neuron));
    this.unused = [...touched.filter((neuron) => this.resident.get(neuron) === 0), ...others];
    this.brokenToken = this.#brokenBefore;
    for (const { sets } of this.#steps.values()) {
      for (const [i, set] of sets.entries()) {
        if (set.every((neuron) => this.resident.has(neuron))) continue;
        this.brokenToken = Math.max(this.brokenToken, this.tokenBefore + i + 1);
      }
    }
  }

  anticipate(guess: readonly number[], maxNeurons: number): readonly number[] {
    const absent = guess.filter((neuron) => !this.resident.has(neuron)).slice(0, Math.min(maxNeurons, this.slotCount));
    const tooMany = Math.max(0, this.resident.size + absent.length - this.slotCount);
    this.#order?.keep?.(guess);
    this.#kept = [...this.#kept, ...guess];
    const inUse = (neuron: number) => this.nLayers > 1 && this.#isOfLastAdmit(neuron);
    const mayLeave = (neuron: number) => !guess.includes(neuron) && !this.#isPinned(neuron) && !inUse(neuron);
    if (this.#order) this.#evictInOrder(tooMany);
    else
      this.#evict(
        this.neurons
          .filter(mayLeave)
          .sort((a, b) => this.compareAge(a, b))
          .slice(0, tooMany),
      );
    const taken = absent.slice(0, this.slotCount - this.resident.size);
    for (const neuron of taken) this.#enter(neuron, 0);
    this.unused = [...taken, ...this.unused];
    return taken;
  }

  #beginStep(tokens: number, layer: number): void {
    const goesOn = !this.isOver && layer > this.layer;
    this.layer = layer;
    this.isOver = false;
    this.#order?.beginStep?.(layer);
    if (goesOn) return;
    this.tokenBefore = this.token;
    this.#stampsBefore = new Map(this.resident);
    this.#brokenBefore = this.brokenToken;
    this.token += tokens;
    this.#steps = new Map();
  }

  #isOfLastAdmit(neuron: number): boolean {
    return !this.isOver && this.layerOf(neuron) === this.layer && this.resident.get(neuron)! > this.tokenBefore;
  }

  /** The last token of the step that names a neuron. */
  #lastUser(neuron: number): number | undefined {
    const last = this.#steps.get(this.layerOf(neuron))!.sets.findLastIndex((set) => set.includes(neuron));
    return last < 0 ? undefined : this.tokenBefore + last + 1;
  }

  /** By last use, then by neuron; what was never used goes first, in a pool of the lower layer. */
  compareAge(a: number, b: number): number {
    const place = (neuron: number) => this.unused.indexOf(neuron);
    if (place(a) >= 0 && place(b) >= 0) return this.layerOf(a) - this.layerOf(b) || place(a) - place(b);
    return this.resident.get(a)! - this.resident.get(b)! || a - b;
  }

  #enter(neuron: number, stamp: number): void {
    this.resident.set(neuron, stamp);
    this.#order?.entered?.(neuron);
  }

  /** Evicts, for want of room, at most `count` in the policy's own order, none of those that are kept. */
  #evictInOrder(count: number): readonly number[] {
    const victims: number[] = [];
    while (victims.length < count) {
      const candidates = this.neurons.filter((neuron) => !this.#kept.includes(neuron));
      if (candidates.length === 0) break;
      victims.push(...this.#evict([this.#order!.victim(candidates, this)]));
    }
    return victims;
  }

  #evict(victims: readonly number[]): readonly number[] {
    for (const neuron of victims) this.brokenToken = Math.max(this.brokenToken, this.resident.get(neuron)!);
    return this.#drop(victims);
  }

  #load(named: readonly number[], wave: readonly number[], expired: readonly number[]): ObviousWave {
    const misses = wave.filter((neuron) => !this.resident.has(neuron));
    const tooMany = Math.max(0, this.resident.size + misses.length - this.slotCount);
    const inOrder = this.#order ? this.#evictInOrder(tooMany) : [];
    const victims = [...inOrder, ...this.#evict(this.#leaving(named, wave).slice(0, tooMany - inOrder.length))];
    for (const neuron of misses) this.#enter(neuron, 0);
    for (const neuron of wave) this.resident.set(neuron, this.#lastUser(neuron)!);
    const uses = this.#steps
      .get(this.layer)!
      .sets.flat()
      .filter((neuron) => wave.includes(neuron)).length;
    return { neurons: wave, misses, hits: uses - misses.length, evicted: [...expired, ...victims] };
  }

  /** As much of `rest` as the slots that pinned neurons leave, and at least a quarter of the slots, can hold. */
  #segment(rest: readonly number[]): readonly number[] {
    const pinned = this.neurons.filter((neuron) => this.#isPinned(neuron)).length;
    const room = Math.max(this.slotCount - pinned, Math.ceil(this.slotCount / 4));
    const takesRoom = (neuron: number) => !(this.resident.has(neuron) && this.#isPinned(neuron));
    let length = 0;
    while (
      length < Math.min(rest.length, this.slotCount) &&
      rest.slice(0, length + 1).filter(takesRoom).length <= room
    ) {
      length++;
    }
    return this.policy.isPinned ? rest.slice(0, length) : rest.slice(0, this.slotCount);
  }

  /** All that may leave for a wave, in the order in which it leaves where the policy has none of its own. */
  #leaving(named: readonly number[], wave: readonly number[]): number[] {
    const last = wave.at(-1) ?? -1;
    // 0: not named by this step; 1: computed already; 2: still to be computed.
    const kind = (neuron: number) => (!named.includes(neuron) ? 0 : neuron <= last ? 1 : 2);
    return this.neurons
      .filter((neuron) => !wave.includes(neuron))
      .sort((a, b) => {
        const first = Number(this.#isPinned(a)) - Number(this.#isPinned(b)) || kind(a) - kind(b);
        if (first !== 0) return first;
        return kind(a) === 2 ? b - a : this.compareAge(a, b);
      });
  }

  #isPinned(neuron: number): boolean {
    return this.policy.isPinned?.(neuron) ?? false;
  }

  #drop(neurons: readonly number[]): readonly number[] {
    for (const neuron of neurons) {
      this.resident.delete(neuron);
      this.#order?.left?.(neuron);
      this.#brokenBefore = Math.max(this.#brokenBefore, this.#stampsBefore.get(neuron) ?? 0);
      this.#stampsBefore.delete(neuron);
    }
    this.unused = this.unused.filter((neuron) => !neurons.includes(neuron));
    return neurons;
  }
}
