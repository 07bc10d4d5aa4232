/**
 * All orders of a few operations on sequences that share pages of keys and values, searched state by state: the product's sequences and pages, and an engine that
 * stores a number for each token.
 *
 * A step has three parts, as on a device: it begins (a page may have to be copied), the copy is there, and it ends well or fails. Between them anybody may fork,
 * roll back and release. What must hold: each sequence holds its own numbers, no page is lost or given away twice.
 */

import { isFlashwickError, KV_PAGE_TOKENS } from "@flashwick/core";
import { Arena, type Kernels } from "@flashwick/kernels";
import type { KvPool as Pool } from "../../../../packages/runtime/src/kv-pool.js";
import { KvPool } from "../../../../packages/runtime/src/kv-pool.js";
import { Sequence } from "../../../../packages/runtime/src/sequence.js";

/** Sequences at once, and pages of all of them: fewer than they could use. */
const SEQUENCES = 3;
const PAGES = 5;
const CONTEXT_TOKENS = 3 * KV_PAGE_TOKENS;

/** What may be done next: of sequence `of`, by its place. */
export type PageOp =
  | { readonly do: "open" }
  | { readonly do: "begin"; readonly of: number; readonly count: number }
  | { readonly do: "copied" }
  | { readonly do: "end"; readonly well: boolean }
  | { readonly do: "fork" | "release"; readonly of: number }
  | { readonly do: "rollback"; readonly of: number; readonly to: number };

interface Held {
  readonly sequence: Sequence;
  /** The numbers that its pages must hold. */
  numbers: number[];
}

/** A step in progress. */
interface Flight {
  readonly held: Held;
  readonly count: number;
  /** Resolves the copy; null: nothing is copied, or it is there. */
  copied: (() => void) | null;
  readonly reserved: Promise<void>;
  failure: unknown;
}

/** Sequences after some operations. */
export class PageWorld {
  readonly #pool: Pool;
  readonly #arena = new Arena(65536);
  readonly #tables: number;
  readonly #held: (Held | null)[] = new Array<null>(SEQUENCES).fill(null);
  readonly #engine: Sequence["engine"];
  #flight: Flight | null = null;
  #pendingCopy: (() => void) | null = null;
  /** Numbers written so far: no two are the same within one path. */
  #written = 0;

  /** @param sabotage Breaks the pool. */
  constructor(sabotage: (pool: Pool) => void = () => {}) {
    this.#tables = this.#arena.allocate(4 * SEQUENCES * (CONTEXT_TOKENS / KV_PAGE_TOKENS));
    const kernels = {
      put() {},
      take: () =>
        new Promise<void>((resolve) => {
          this.#pendingCopy = resolve;
        }),
    } as unknown as Kernels;
    const contexts = [{ arena: this.#arena, kernels, pageTables: this.#tables }];
    this.#pool = new KvPool({
      contexts: contexts as unknown as ConstructorParameters<typeof KvPool>[0]["contexts"],
      ...{ dtype: "f32", layers: [{ nKvHeads: 1, headDim: 1 }], arenaOfLayer: [0] },
      ...{ pages: PAGES, sequences: SEQUENCES, tablePages: CONTEXT_TOKENS / KV_PAGE_TOKENS },
    });
    sabotage(this.#pool);
    this.#engine = { pool: this.#pool, contextTokens: CONTEXT_TOKENS } as unknown as Sequence["engine"];
  }

  /** What may be done now. */
  options(): PageOp[] {
    const ops: PageOp[] = [];
    if (this.#flight?.copied) ops.push({ do: "copied" });
    else if (this.#flight) ops.push({ do: "end", well: true }, { do: "end", well: false });
    const isFull = this.#held.every((held) => held !== null);
    if (!isFull) ops.push({ do: "open" });
    for (const [of, held] of this.#held.entries()) {
      if (!held) continue;
      const { length } = held.sequence;
      if (!this.#flight) for (const count of [1, KV_PAGE_TOKENS + 3]) ops.push({ do: "begin", of, count });
      if (!isFull) ops.push({ do: "fork", of });
      ops.push({ do: "release", of });
      if (length > 0) ops.push({ do: "rollback", of, to: Math.floor(length / 2) });
    }
    return ops;
  }

  /** Does it; what is refused with a typed error changes nothing. @throws {Error} for a broken promise. */
  async apply(op: PageOp): Promise<void> {
    try {
      await this.#do(op);
    } catch (error) {
      if (!isFlashwickError(error)) throw error;
    }
    this.#check();
  }

  /** Ends what is in progress, releases all, and sees that all pages are there again. @throws {Error} */
  async end(): Promise<void> {
    while (this.#flight) await this.apply(this.#flight.copied ? { do: "copied" } : { do: "end", well: false });
    for (const of of this.#held.keys()) if (this.#held[of]) await this.apply({ do: "release", of });
    const { freePages, openTables } = this.#pool;
    if (freePages !== PAGES) throw new Error(`${freePages} of ${PAGES} pages are free when nobody holds any`);
    if (openTables !== 0) throw new Error(`${openTables} tables are in use when nobody holds any`);
  }

  /** Says where everything is: the same state, the same text. */
  get key(): string {
    const flight = this.#flight && [
      this.#held.indexOf(this.#flight.held),
      this.#flight.count,
      this.#flight.copied !== null,
    ];
    const held = this.#held.map(
      (one) =>
        one && [
          one.sequence.table,
          one.sequence.length,
          this.#addresses(one),
          one.numbers.map((n) => Math.floor(n / 64)),
        ],
    );
    return JSON.stringify([flight, held, this.#pool.freePages, this.#pool.openTables]);
  }

  async #do(op: PageOp): Promise<void> {
    switch (op.do) {
      case "open": {
        const sequence = new Sequence(this.#engine);
        this.#held[this.#held.indexOf(null)] = { sequence, numbers: [] };
        return;
      }
      case "begin":
        return await this.#begin(this.#held[op.of]!, op.count);
      case "copied":
        this.#flight!.copied!();
        this.#flight!.copied = null;
        return await this.#flight!.reserved;
      case "end":
        return this.#endStep(op.well);
      case "fork": {
        const { sequence, numbers } = this.#held[op.of]!;
        const fork = sequence.fork();
        this.#held[this.#held.indexOf(null)] = { sequence: fork, numbers: numbers.slice(0, fork.length) };
        return;
      }
      case "release":
        this.#held[op.of]!.sequence.release();
        this.#held[op.of] = null;
        return;
      case "rollback": {
        const held = this.#held[op.of]!;
        held.sequence.rollback(op.to);
        held.numbers = held.numbers.slice(0, op.to);
        return;
      }
    }
  }

  async #begin(held: Held, count: number): Promise<void> {
    const { sequence } = held;
    sequence.stepBegins();
    this.#pendingCopy = null;
    const flight: Flight = { held, count, copied: null, reserved: sequence.reserve(count), failure: null };
    const settled = flight.reserved.catch((error) => {
      flight.failure = error;
    });
    flight.copied = this.#pendingCopy;
    this.#flight = { ...flight, reserved: settled.then(() => this.#giveUpUnless(flight)) };
    if (flight.copied === null) await this.#flight.reserved;
  }

  /** A step for which there is no room has ended. */
  #giveUpUnless({ held, failure }: Flight): void {
    if (failure === null) return;
    this.#flight = null;
    held.sequence.stepEnds();
    if (!isFlashwickError(failure)) throw failure;
  }

  #endStep(well: boolean): void {
    const { held, count } = this.#flight!;
    this.#flight = null;
    const { sequence } = held;
    const from = sequence.length;
    // What failed half-way has written, too.
    const numbers = Array.from({ length: count }, () => 64 * (1 + this.#held.indexOf(held)) + (this.#written++ % 64));
    for (const [i, number] of numbers.entries()) this.#arena.u32(this.#placeOf(sequence, from + i), 1)[0] = number;
    if (well) {
      sequence.commit(numbers, true, true);
      held.numbers = [...held.numbers, ...numbers];
    }
    sequence.stepEnds();
  }

  #placeOf(sequence: Sequence, position: number): number {
    const { pages } = this.#pool.cacheOf(sequence.table, 0);
    const page = this.#arena.u32(pages + 4 * Math.floor(position / KV_PAGE_TOKENS), 1)[0]!;
    return page + 4 * (position % KV_PAGE_TOKENS);
  }

  #addresses({ sequence }: Held): number[] {
    const { pages } = this.#pool.cacheOf(sequence.table, 0);
    return [...this.#arena.u32(pages, Math.ceil(sequence.length / KV_PAGE_TOKENS))];
  }

  #check(): void {
    const used = new Set<number>();
    for (const held of this.#held) {
      if (!held) continue;
      for (const address of this.#addresses(held)) used.add(address);
      for (const [i, number] of held.numbers.entries()) {
        const found = this.#arena.u32(this.#placeOf(held.sequence, i), 1)[0];
        if (found !== number) throw new Error(`token ${i} of a sequence is ${found}, expected ${number}`);
      }
    }
    if (used.size + this.#pool.freePages > PAGES) throw new Error("a page that is in use is free");
  }
}

/** What a search has come to. */
export interface ExploredPages {
  readonly states: number;
  readonly paths: number;
  /** The first fault and what leads to it; null: there is none. */
  readonly fault: string | null;
}

/** Does all operations in all orders, `depth` of them; of states that were met once, no further ones are tried. */
export async function explorePages(depth: number, sabotage?: (pool: Pool) => void): Promise<ExploredPages> {
  const met = new Set<string>();
  let paths = 0;
  let level: PageOp[][] = [[]];
  for (let at = 0; at <= depth; at++) {
    const next: PageOp[][] = [];
    for (const path of level) {
      paths++;
      const world = new PageWorld(sabotage);
      try {
        for (const op of path) await world.apply(op);
        const { key } = world;
        const options = world.options();
        await world.end();
        if (met.has(key)) continue;
        met.add(key);
        for (const op of options) next.push([...path, op]);
      } catch (error) {
        return {
          states: met.size,
          paths,
          fault: `${String(error)}: ${path.map((op) => JSON.stringify(op)).join(" ")}`,
        };
      }
    }
    level = next;
  }
  return { states: met.size, paths, fault: null };
}
