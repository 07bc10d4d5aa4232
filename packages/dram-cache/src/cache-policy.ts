/**
 * What leaves a cache: the one interface behind which all policies stand. A policy expires, protects and orders; slots,
 * waves and counters are the cache's (slot-cache.ts). A _unit_ is what the cache counts: a neuron or an expert.
 */
import { InputError } from "@flashwick/core";

/** What leaves a cache and when: the one interface behind which all policies stand. */
export interface CachePolicy {
  readonly name: string;
  /**
   * The window, in tokens and with the current one: a unit whose last use is this many tokens ago leaves, room or no
   * room. At least 1; Infinity: only pressure evicts.
   */
  readonly windowTokens: number;
  /**
   * Pinned units do not expire, and waves are cut shorter so that they need not leave under pressure (slot-cache.ts).
   * What it answers may change between steps, never within one. Null where `order` is not.
   */
  readonly isPinned: ((unit: number) => boolean) | null;
  /**
   * Makes the order of one cache in which units leave under pressure. Null: the least recently used first, among equals
   * the lower unit, which is what a window that shrinks gives up.
   */
  readonly order: ((residents: Residents) => EvictionOrder) | null;
  /** What an order allocates for so many units. Default: nothing. */
  readonly orderBytes?: (nUnits: number) => number;
  /** Sees each token's named set before it is admitted, or seeded. */
  readonly observe?: (named: Uint32Array) => void;
  /** The inverse: sees the set of a token that is taken back, the newest first. Without it, what was counted stays. */
  readonly unobserve?: (named: Uint32Array) => void;
}

/** The cache as an order sees it. */
export interface Residents {
  readonly nUnits: number;
  readonly slotCount: number;
  /** 1, or the layers of a pool; unit u belongs to layer ⌊u · nLayers / nUnits⌋. */
  readonly nLayers: number;
  /** Number of the last token; that of the last token before the step in progress. */
  readonly token: number;
  readonly tokenBefore: number;
  /** Number of the last token that used a unit; 0: none that is known. */
  lastUse(unit: number): number;
  /** The least recently used resident unit of a layer, the lower among equals; or -1. */
  oldest(layer: number): number;
  /** The next one of the same layer; or -1. */
  newer(unit: number): number;
}

/**
 * In which order units leave. It follows what is resident, and what it answers depends on the sequence of calls alone.
 * A step is what is admitted together: sets of one token or of several, of one layer.
 */
export interface EvictionOrder {
  /** A step begins: what the last one kept may leave again. */
  beginStep(layer: number): void;
  /** A token of the step names these units, which are kept. */
  observe(named: Uint32Array): void;
  /** A token is taken back whose set was observed in the last step of its layer; the newest first. */
  unobserve(named: Uint32Array): void;
  /** Units that must not leave before the next step. */
  keep(units: Uint32Array): void;
  /** A unit has become resident. */
  entered(unit: number): void;
  /** A unit has lost its slot. */
  left(unit: number): void;
  /** The resident unit that leaves next, none of those kept; -1 where there is none. It is told to have `left` then. */
  victim(): number;
}

/** `"auto"`: as many tokens as the slots hold, the same as Infinity. */
export type WindowTokens = number | "auto";

/** @throws {InputError} `INPUT_INVALID` if `windowTokens` is neither "auto", Infinity nor an integer of at least 1. */
export function checkWindowTokens(windowTokens: WindowTokens): number {
  if (windowTokens === "auto" || windowTokens === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  if (Number.isSafeInteger(windowTokens) && windowTokens >= 1) return windowTokens;
  throw new InputError(
    "INPUT_INVALID",
    `cache policy: a window of ${windowTokens} tokens, expected an integer of at least 1 (1 is the current token only), or "auto"`,
    { details: { windowTokens } },
  );
}
