/** The orders of policies as slow, obvious models: sorts of what may leave, and queues that are arrays. */

/** Policies of tests halve their counts after so many tokens. */
export const HALVE_AFTER = 3;

/** What an order asks the cache. */
export interface OrderedCache {
  readonly nLayers: number;
  /** The layer that was admitted last. */
  readonly layer: number;
  /** The last token before the step. */
  readonly tokenBefore: number;
  /** Resident neurons, and the last token that used each. */
  readonly resident: ReadonlyMap<number, number>;
  layerOf(unit: number): number;
  compareAge(a: number, b: number): number;
}

export interface ObviousOrder {
  /** The unit that leaves next of those that may. */
  victim(candidates: readonly number[], cache: OrderedCache): number;
  beginStep?(layer: number): void;
  observe?(set: readonly number[]): void;
  unobserve?(set: readonly number[]): void;
  keep?(guess: readonly number[]): void;
  entered?(unit: number): void;
  left?(unit: number): void;
}

/** The order of a policy by its name; null: by age alone. */
export function obviousOrder(name: string, slotCount: number, cache: OrderedCache): ObviousOrder | null {
  if (name === "least-stale") return { victim: leastStale };
  if (name === "lfu") return new ObviousLfu(cache);
  if (name === "s3-fifo") return new ObviousS3Fifo(slotCount);
  return null;
}

type Key = (unit: number) => number;

function firstBy(candidates: readonly number[], cache: OrderedCache, ...keys: readonly Key[]): number {
  const compare = (a: number, b: number) => {
    const key = keys.find((key) => key(a) !== key(b));
    return key ? key(a) - key(b) : cache.compareAge(a, b);
  };
  return [...candidates].sort(compare)[0]!;
}

function leastStale(candidates: readonly number[], cache: OrderedCache): number {
  const isPassed = (unit: number) => cache.layerOf(unit) <= cache.layer;
  const isStale = (unit: number) => cache.resident.get(unit)! <= cache.tokenBefore;
  const group = (unit: number) => (isPassed(unit) ? (isStale(unit) ? 0 : 1) : 2);
  return firstBy(candidates, cache, group, (unit) => -cache.layerOf(unit));
}

class ObviousLfu implements ObviousOrder {
  readonly #cache: OrderedCache;
  readonly #uses = new Map<number, number>();
  /** Named, guessed or taken back since the last step of their layer began. */
  #fresh: number[] = [];
  #sets = 0;

  constructor(cache: OrderedCache) {
    this.#cache = cache;
  }

  beginStep(layer: number): void {
    this.#fresh = this.#fresh.filter((unit) => this.#cache.layerOf(unit) !== layer);
    if (layer > 0 || this.#sets < HALVE_AFTER * this.#cache.nLayers) return;
    this.#sets = 0;
    for (const [unit, uses] of this.#uses) this.#uses.set(unit, Math.floor(uses / 2));
  }

  observe(set: readonly number[]): void {
    this.#count(set, 1);
  }

  unobserve(set: readonly number[]): void {
    this.#count(set, -1);
  }

  keep(guess: readonly number[]): void {
    this.#fresh.push(...guess);
  }

  #count(set: readonly number[], uses: number): void {
    this.#sets += uses;
    this.#fresh.push(...set);
    for (const unit of set) this.#uses.set(unit, (this.#uses.get(unit) ?? 0) + uses);
  }

  victim(candidates: readonly number[], cache: OrderedCache): number {
    const isPassed = (unit: number) => cache.layerOf(unit) <= cache.layer;
    const isFresh = (unit: number) => this.#fresh.includes(unit);
    const group = (unit: number) => (isPassed(unit) ? (isFresh(unit) ? 1 : 0) : 2);
    const layer = (unit: number) => -cache.layerOf(unit);
    const uses = (unit: number) => (isFresh(unit) ? 0 : (this.#uses.get(unit) ?? 0));
    const stamp = (unit: number) => (isFresh(unit) ? 0 : cache.resident.get(unit)!);
    const number = (unit: number) => (isFresh(unit) ? 0 : unit);
    return firstBy(candidates, cache, group, layer, (unit) => Number(isFresh(unit)), uses, stamp, number);
  }
}

class ObviousS3Fifo implements ObviousOrder {
  readonly #slotCount: number;
  readonly #small: number[] = [];
  readonly #main: number[] = [];
  #ghosts: number[] = [];
  readonly #uses = new Map<number, number>();

  constructor(slotCount: number) {
    this.#slotCount = slotCount;
  }

  observe(set: readonly number[]): void {
    for (const unit of set) if (this.#uses.has(unit)) this.#uses.set(unit, this.#uses.get(unit)! + 1);
  }

  unobserve(set: readonly number[]): void {
    for (const unit of set) if (this.#uses.has(unit)) this.#uses.set(unit, Math.max(0, this.#uses.get(unit)! - 1));
  }

  entered(unit: number): void {
    this.#uses.set(unit, 0);
    (this.#ghosts.includes(unit) ? this.#main : this.#small).push(unit);
    this.#ghosts = this.#ghosts.filter((ghost) => ghost !== unit);
  }

  left(unit: number): void {
    this.#uses.delete(unit);
    if (remove(this.#small, unit)) this.#ghosts = [...this.#ghosts, unit].slice(-this.#slotCount);
    else remove(this.#main, unit);
  }

  victim(candidates: readonly number[]): number {
    const isFull = this.#small.length >= Math.max(1, Math.floor(0.1 * this.#slotCount));
    const queues = isFull ? [this.#small, this.#main] : [this.#main, this.#small];
    for (const queue of queues) {
      const victim = this.#victimOf(queue, candidates);
      if (victim !== undefined) return victim;
    }
    throw new Error("every candidate is in a queue");
  }

  #victimOf(queue: number[], candidates: readonly number[]): number | undefined {
    for (;;) {
      const unit = queue.find((unit) => candidates.includes(unit));
      if (unit === undefined) return undefined;
      const uses = Math.min(3, this.#uses.get(unit)!);
      if (uses < (queue === this.#small ? 2 : 1)) return unit;
      remove(queue, unit);
      this.#main.push(unit);
      this.#uses.set(unit, queue === this.#small ? 0 : uses - 1);
    }
  }
}

/** False if the unit is not there. */
function remove(queue: number[], unit: number): boolean {
  const at = queue.indexOf(unit);
  if (at >= 0) queue.splice(at, 1);
  return at >= 0;
}
