/**
 * S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), for study, adapted to tokens that name sets.
 *
 * What comes in stands in a small queue, a tenth of the slots; what leaves it without having been named twice more is remembered as a ghost
 * (as many as there are slots), and comes back into the main queue. There the first in is the first out, but what was named since is passed
 * over, once for each time up to three.
 *
 * Differences. A wave frees many slots at once, so the order of leaving is a rank over all residents instead of a hand that moves: members of
 * the small queue beyond its share first, then the main queue by times named and age. Being passed over costs a time named as soon as as many
 * neurons have left as there are slots, which is once round the queue. A member of the current set never leaves for another.
 */
import type { CachePolicy } from "../cache-policy.js";

const SMALL_SHARE = 0.1;
/** Named this often while in the small queue, a neuron ranks as one of the main queue. */
const PROMOTED_USES = 2;
const MOST_USES = 3;

const ABSENT = 0;
const SMALL = 1;
const MAIN = 2;

/** @param dFf Neurons of the layer. @param slotCount Of the cache, which needs a policy of its own. */
export function s3FifoPolicy(dFf: number, slotCount: number): CachePolicy {
  const queues = new S3Queues(dFf, slotCount);
  return {
    name: "s3-fifo",
    windowTokens: Number.POSITIVE_INFINITY,
    isPinned: null,
    evictionRank: (neuron) => queues.rank(neuron),
    observe: (named) => queues.use(named),
    entered: (neuron) => queues.enter(neuron),
    left: (neuron) => queues.leave(neuron),
  };
}

class S3Queues {
  readonly #slotCount: number;
  readonly #smallSlots: number;
  readonly #queue: Uint8Array;
  readonly #uses: Uint8Array;
  /** When each neuron came in. */
  readonly #entered: Float64Array;
  /** In order of leaving. */
  readonly #ghosts = new Set<number>();
  #clock = 0;
  #smallCount = 0;
  #leftSinceRound = 0;

  constructor(dFf: number, slotCount: number) {
    this.#slotCount = slotCount;
    this.#smallSlots = Math.max(1, Math.floor(SMALL_SHARE * slotCount));
    this.#queue = new Uint8Array(dFf);
    this.#uses = new Uint8Array(dFf);
    this.#entered = new Float64Array(dFf);
  }

  use(named: Uint32Array): void {
    for (const neuron of named) {
      if (this.#queue[neuron] !== ABSENT) this.#uses[neuron] = Math.min(MOST_USES, this.#uses[neuron]! + 1);
    }
  }

  enter(neuron: number): void {
    const isKnown = this.#ghosts.delete(neuron);
    this.#queue[neuron] = isKnown ? MAIN : SMALL;
    if (!isKnown) this.#smallCount++;
    this.#uses[neuron] = 0;
    this.#entered[neuron] = this.#clock++;
  }

  leave(neuron: number): void {
    if (this.#queue[neuron] === SMALL) {
      this.#smallCount--;
      this.#remember(neuron);
    }
    this.#queue[neuron] = ABSENT;
    if (++this.#leftSinceRound < this.#slotCount) return;
    this.#leftSinceRound = 0;
    for (let n = 0; n < this.#uses.length; n++) if (this.#queue[n] === MAIN && this.#uses[n]! > 0) this.#uses[n]!--;
  }

  /** The largest leaves first. */
  rank(neuron: number): number {
    const age = this.#clock - this.#entered[neuron]!;
    const uses = this.#uses[neuron]!;
    const isSmall = this.#queue[neuron] === SMALL && uses < PROMOTED_USES;
    if (isSmall && this.#smallCount > this.#smallSlots) return 2 * RANKS + age;
    return (MOST_USES - uses) * STEP + (isSmall ? 0 : age);
  }

  #remember(neuron: number): void {
    this.#ghosts.add(neuron);
    if (this.#ghosts.size > this.#slotCount) this.#ghosts.delete(this.#ghosts.values().next().value!);
  }
}

/** Above every age. */
const STEP = 2 ** 44;
const RANKS = (MOST_USES + 1) * STEP;
