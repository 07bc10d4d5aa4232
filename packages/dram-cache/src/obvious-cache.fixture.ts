/** The cache as a slow, obvious model: sets, maps and sorts, nothing kept in order, no slots. What a test believes in. */
import type { CachePolicy } from "./cache-policy.js";

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
  /** The sets of the last step that have not been taken back, and all neurons that it named. */
  step: readonly (readonly number[])[] = [];
  stepNeurons: readonly number[] = [];
  /** The last token before the step; then what has been resident since, with its stamp; and who had lost a neuron. */
  #tokenBefore = 0;
  #stampsBefore = new Map<number, number>();
  #brokenBefore = 0;

  constructor(
    readonly slotCount: number,
    readonly policy: CachePolicy,
  ) {}

  get neurons(): number[] {
    return [...this.resident.keys()].sort((a, b) => a - b);
  }

  get effectiveWindowTokens(): number {
    return Math.min(this.policy.windowTokens, this.token - this.brokenToken);
  }

  /** One step: the sets of consecutive tokens. */
  admit(...sets: readonly (readonly number[])[]): ObviousWave[] {
    const named = [...new Set(sets.flat())].sort((a, b) => a - b);
    this.step = sets;
    this.stepNeurons = named;
    this.#tokenBefore = this.token;
    this.#stampsBefore = new Map(this.resident);
    this.#brokenBefore = this.brokenToken;
    this.token += sets.length;
    for (const set of sets) this.policy.observe?.(Uint32Array.from(set));
    for (const neuron of named) if (this.resident.has(neuron)) this.resident.set(neuron, this.#lastUser(neuron)!);
    this.unused = this.unused.filter((neuron) => !named.includes(neuron));
    const expired = this.#drop(
      this.neurons.filter((neuron) => {
        const age = this.token - this.resident.get(neuron)!;
        return age >= this.policy.windowTokens && !named.includes(neuron) && !this.#isPinned(neuron);
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
    const remaining = this.step.slice(0, this.step.length - tokens);
    for (const set of this.step.slice(remaining.length).toReversed()) this.policy.unobserve?.(Uint32Array.from(set));
    this.step = remaining;
    this.token = this.#tokenBefore + remaining.length;
    const touched = this.stepNeurons.filter((neuron) => this.resident.has(neuron));
    for (const neuron of touched) {
      this.resident.set(neuron, this.#lastUser(neuron) ?? this.#stampsBefore.get(neuron) ?? 0);
    }
    const others = this.unused.filter((neuron) => !touched.includes(neuron));
    this.unused = [...touched.filter((neuron) => this.resident.get(neuron) === 0), ...others];
    this.brokenToken = this.#brokenBefore;
    for (const [i, set] of remaining.entries()) {
      if (set.some((neuron) => !this.resident.has(neuron))) this.brokenToken = this.#tokenBefore + i + 1;
    }
  }

  anticipate(guess: readonly number[], maxNeurons: number): readonly number[] {
    const absent = guess.filter((neuron) => !this.resident.has(neuron)).slice(0, Math.min(maxNeurons, this.slotCount));
    const tooMany = Math.max(0, this.resident.size + absent.length - this.slotCount);
    const victims = this.neurons
      .filter((neuron) => !guess.includes(neuron) && !this.#isPinned(neuron))
      .sort((a, b) => this.#byAge(a, b))
      .slice(0, tooMany);
    for (const neuron of victims) this.brokenToken = Math.max(this.brokenToken, this.resident.get(neuron)!);
    this.#drop(victims);
    const taken = absent.slice(0, this.slotCount - this.resident.size);
    for (const neuron of taken) this.resident.set(neuron, 0);
    this.unused = [...taken, ...this.unused];
    return taken;
  }

  /** The last token of the step that names a neuron. */
  #lastUser(neuron: number): number | undefined {
    const last = this.step.findLastIndex((set) => set.includes(neuron));
    return last < 0 ? undefined : this.#tokenBefore + last + 1;
  }

  /** By last use, then by neuron; what was never used goes first. */
  #byAge(a: number, b: number): number {
    const place = (neuron: number) => this.unused.indexOf(neuron);
    if (place(a) >= 0 && place(b) >= 0) return place(a) - place(b);
    return this.resident.get(a)! - this.resident.get(b)! || a - b;
  }

  #load(named: readonly number[], wave: readonly number[], expired: readonly number[]): ObviousWave {
    const misses = wave.filter((neuron) => !this.resident.has(neuron));
    const tooMany = this.resident.size + misses.length - this.slotCount;
    const victims = tooMany > 0 ? this.#order(named, wave).slice(0, tooMany) : [];
    for (const neuron of victims) this.brokenToken = Math.max(this.brokenToken, this.resident.get(neuron)!);
    this.#drop(victims);
    for (const neuron of wave) this.resident.set(neuron, this.#lastUser(neuron)!);
    const uses = this.step.flat().filter((neuron) => wave.includes(neuron)).length;
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

  /** All that may leave for a wave, in the order in which it leaves. */
  #order(named: readonly number[], wave: readonly number[]): number[] {
    const last = wave.at(-1) ?? -1;
    // 0: not named by this step; 1: computed already; 2: still to be computed.
    const kind = (neuron: number) => (!named.includes(neuron) ? 0 : neuron <= last ? 1 : 2);
    const rank = (neuron: number) => this.policy.evictionRank?.(neuron, this.token) ?? 0;
    return this.neurons
      .filter((neuron) => !wave.includes(neuron))
      .sort((a, b) => {
        const first = Number(this.#isPinned(a)) - Number(this.#isPinned(b)) || kind(a) - kind(b);
        if (first !== 0) return first;
        if (kind(a) === 2) return b - a;
        const byRank = kind(a) === 1 || rank(a) === rank(b) ? 0 : rank(a) < rank(b) ? 1 : -1;
        return byRank || this.#byAge(a, b);
      });
  }

  #isPinned(neuron: number): boolean {
    return this.policy.isPinned?.(neuron) ?? false;
  }

  #drop(neurons: readonly number[]): readonly number[] {
    for (const neuron of neurons) {
      this.resident.delete(neuron);
      this.#brokenBefore = Math.max(this.#brokenBefore, this.#stampsBefore.get(neuron) ?? 0);
      this.#stampsBefore.delete(neuron);
    }
    this.unused = this.unused.filter((neuron) => !neurons.includes(neuron));
    return neurons;
  }
}
