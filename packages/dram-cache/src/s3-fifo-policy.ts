/**
 * S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), for tokens that name sets.
 *
 * What comes in stands in a small queue, a tenth of the slots. What reaches the end of it without having been named twice
 * more leaves, and is remembered as a ghost (as many as there are slots); other units move on to the main queue, and so
 * does what comes back while it is a ghost. In the main queue the first in is the first out, but what was named since is
 * sent round again, once for each time up to three.
 *
 * Different from the paper: what the step in progress names is passed over where it stands, since it must not leave.
 */
import type { CachePolicy, EvictionOrder, Residents } from "./cache-policy.js";
import { KeptUnits } from "./kept-units.js";
import { NO_SLOT, RecencyList } from "./recency-list.js";

const SMALL_SHARE = 0.1;
/** Named this often while in the small queue, a unit moves on to the main one. */
const PROMOTED_USES = 2;
const MOST_USES = 3;

const SMALL = 0;
const MAIN = 1;
const ABSENT = 2;

/**
 * Drafts that are taken back are not counted; which queue a unit has come to meanwhile stays.
 *
 * Cost: O(1) for each unit that a token names; what an eviction sends round was named that often before. 14 bytes a unit.
 */
export function s3FifoPolicy(): CachePolicy {
  return {
    name: "s3-fifo",
    windowTokens: Number.POSITIVE_INFINITY,
    isPinned: null,
    orderBytes: (nUnits) => 14 * nUnits + 16,
    order: (residents) => new S3Queues(residents),
  };
}

class S3Queues implements EvictionOrder {
  readonly #slotCount: number;
  readonly #smallSlots: number;
  /** Lists of units, the first in first: `SMALL` and `MAIN`. */
  readonly #queues: RecencyList;
  readonly #queueOf: Uint8Array;
  readonly #uses: Uint32Array;
  readonly #kept: KeptUnits;
  /** By queue: the last unit that was passed over because it is kept, as are all before it; or `NO_SLOT`. */
  readonly #passed = [NO_SLOT, NO_SLOT];
  readonly #sizes = [0, 0];
  /** In order of leaving. */
  readonly #ghosts = new Set<number>();

  constructor({ nUnits, slotCount }: Residents) {
    this.#slotCount = slotCount;
    this.#smallSlots = Math.max(1, Math.floor(SMALL_SHARE * slotCount));
    this.#queues = new RecencyList(nUnits, 2);
    this.#queueOf = new Uint8Array(nUnits).fill(ABSENT);
    this.#uses = new Uint32Array(nUnits);
    this.#kept = new KeptUnits(nUnits);
  }

  beginStep(): void {
    this.#kept.take();
    this.#passed.fill(NO_SLOT);
  }

  observe(named: Uint32Array): void {
    this.keep(named);
    for (let i = 0; i < named.length; i++) if (this.#queueOf[named[i]!] !== ABSENT) this.#uses[named[i]!]!++;
  }

  unobserve(named: Uint32Array): void {
    for (let i = 0; i < named.length; i++) if (this.#uses[named[i]!]! > 0) this.#uses[named[i]!]!--;
  }

  keep(units: Uint32Array): void {
    for (let i = 0; i < units.length; i++) this.#kept.add(units[i]!);
  }

  entered(unit: number): void {
    this.#uses[unit] = 0;
    this.#append(unit, this.#ghosts.delete(unit) ? MAIN : SMALL);
  }

  left(unit: number): void {
    if (this.#queueOf[unit] === SMALL) this.#remember(unit);
    this.#remove(unit);
    this.#queueOf[unit] = ABSENT;
  }

  victim(): number {
    const isSmallFull = this.#sizes[SMALL]! >= this.#smallSlots;
    const victim = isSmallFull ? this.#victimOf(SMALL) : this.#victimOf(MAIN);
    if (victim !== NO_SLOT) return victim;
    return isSmallFull ? this.#victimOf(MAIN) : this.#victimOf(SMALL);
  }

  /** The first of a queue that leaves; those before it that are not kept go to the end of the main queue. */
  #victimOf(queue: number): number {
    for (let unit = this.#head(queue); unit !== NO_SLOT; unit = this.#head(queue)) {
      if (this.#kept.has(unit)) {
        this.#passed[queue] = unit;
        continue;
      }
      const uses = Math.min(MOST_USES, this.#uses[unit]!);
      if (uses < (queue === SMALL ? PROMOTED_USES : 1)) return unit;
      this.#uses[unit] = queue === SMALL ? 0 : uses - 1;
      this.#remove(unit);
      this.#append(unit, MAIN);
    }
    return NO_SLOT;
  }

  #head(queue: number): number {
    const passed = this.#passed[queue]!;
    return passed === NO_SLOT ? this.#queues.first(queue) : this.#queues.after(passed);
  }

  #append(unit: number, queue: number): void {
    this.#queueOf[unit] = queue;
    this.#sizes[queue]!++;
    this.#queues.append(unit, queue);
  }

  #remove(unit: number): void {
    const queue = this.#queueOf[unit]!;
    if (this.#passed[queue] === unit) this.#passed[queue] = this.#queues.before(unit);
    this.#sizes[queue]!--;
    this.#queues.remove(unit);
  }

  #remember(unit: number): void {
    this.#ghosts.add(unit);
    if (this.#ghosts.size > this.#slotCount) this.#ghosts.delete(this.#ghosts.values().next().value!);
  }
}
