/**
 * The pages that keys and values of all sequences live in: 16 tokens of all layers each, allocated once.
 *
 * A page has a part in every arena, with the layers that lie there. Sequences hold pages through tables of addresses that the attention kernels
 * read; sequences with an equal beginning share its pages, which are counted.
 *
 * Invariants: a page is free, or has as many holders as `#holders` says; a shared page is never written, but for the step that was writing to it when it came to be
 * shared, and that behind the tokens of whoever shares it.
 */
import { type AttentionGeometry, assert, BudgetError, KV_PAGE_TOKENS, kvPartBytes } from "@flashwick/core";
import type { KvCache, KvDType, Ptr } from "@flashwick/kernels";
import type { ArenaContext } from "./arena-context.js";

export interface KvPoolParts {
  readonly contexts: readonly ArenaContext[];
  readonly dtype: KvDType;
  /** Heads of keys and values, of each layer. */
  readonly layers: readonly Pick<AttentionGeometry, "nKvHeads" | "headDim">[];
  /** Arena of each layer; ascending. */
  readonly arenaOfLayer: readonly number[];
  /** Pages in all. */
  readonly pages: number;
  /** Sequences that may be open at once, and pages of the longest one. */
  readonly sequences: number;
  readonly tablePages: number;
}

export class KvPool {
  readonly #parts: KvPoolParts;
  /** By arena: where page 0 begins, and bytes of a page there. */
  readonly #bases: readonly Ptr[];
  readonly #pageBytes: readonly number[];
  /** By layer: where its part begins in a page of its arena. */
  readonly #layerOffsets: readonly number[];
  readonly #holders: Uint32Array;
  readonly #freePages: number[];
  readonly #freeTables: number[];

  constructor(parts: KvPoolParts) {
    this.#parts = parts;
    const { contexts, arenaOfLayer, pages, sequences } = parts;
    const pageBytes = new Array<number>(contexts.length).fill(0);
    this.#layerOffsets = arenaOfLayer.map((arena, layer) => {
      const offset = pageBytes[arena]!;
      const { nKvHeads, headDim } = parts.layers[layer]!;
      pageBytes[arena] = offset + kvPartBytes(parts.dtype, nKvHeads, headDim);
      return offset;
    });
    this.#pageBytes = pageBytes;
    this.#bases = contexts.map(({ arena }, a) => arena.allocate(pages * this.#pageBytes[a]!));
    this.#holders = new Uint32Array(pages);
    this.#freePages = descending(pages);
    this.#freeTables = descending(sequences);
  }

  /** Sequences that hold a table. */
  get openTables(): number {
    return this.#parts.sequences - this.#freeTables.length;
  }

  /** Pages that nobody holds. */
  get freePages(): number {
    return this.#freePages.length;
  }

  /** A layer's keys and values of the sequence that holds `table`. */
  cacheOf(table: number, layer: number): KvCache {
    const { dtype, layers, arenaOfLayer } = this.#parts;
    const { nKvHeads, headDim } = layers[layer]!;
    const pages = this.#entryPtr(table, 0, arenaOfLayer[layer]!);
    return { dtype, pages, offsetBytes: this.#layerOffsets[layer]!, nKvHeads, headDim };
  }

  /** @throws {BudgetError} `BUDGET_SEQUENCES` if as many sequences are open as were planned for. */
  openTable(): number {
    const table = this.#freeTables.pop();
    if (table !== undefined) return table;
    const { sequences } = this.#parts;
    throw new BudgetError(
      "BUDGET_SEQUENCES",
      `${sequences} sequences are open, as many as were planned for; release one, or open the model with more maxSequences`,
      { details: { sequences } },
    );
  }

  closeTable(table: number): void {
    this.#freeTables.push(table);
  }

  /** A page of the caller's own. @throws {BudgetError} `BUDGET_KV_PAGES` if none is left; nothing has changed then. */
  allocate(): number {
    this.checkFree(1);
    const page = this.#freePages.pop()!;
    this.#holders[page] = 1;
    return page;
  }

  /** @throws {BudgetError} `BUDGET_KV_PAGES` unless so many pages are free. */
  checkFree(pages: number): void {
    if (pages <= this.#freePages.length) return;
    const tokens = this.#parts.pages * KV_PAGE_TOKENS;
    throw new BudgetError(
      "BUDGET_KV_PAGES",
      `the ${tokens} tokens of keys and values that were planned for are in use; release a sequence, or open the model with more contextTokens`,
      { details: { tokens } },
    );
  }

  /** One more holder. */
  share(page: number): void {
    assert(this.#holders[page]! > 0, "only a page in use is shared");
    this.#holders[page]!++;
  }

  isShared(page: number): boolean {
    return this.#holders[page]! > 1;
  }

  /** One holder less; the last one frees the page. */
  release(page: number): void {
    assert(this.#holders[page]! > 0, "only a page in use is released");
    if (--this.#holders[page]! === 0) this.#freePages.push(page);
  }

  /** Enters a page into a table, in every arena. */
  enter(table: number, index: number, page: number): void {
    for (const [a, { arena, kernels }] of this.#parts.contexts.entries()) {
      const entry = this.#entryPtr(table, index, a);
      arena.u32(entry, 1)[0] = this.#addressOf(page, a);
      kernels.put(entry, 4);
    }
  }

  /** Copies a page's keys and values. */
  async copy(from: number, to: number): Promise<void> {
    for (const [a, { arena, kernels }] of this.#parts.contexts.entries()) {
      const bytes = this.#pageBytes[a]!;
      const [source, target] = [this.#addressOf(from, a), this.#addressOf(to, a)];
      const pending = kernels.take(source, bytes);
      if (pending) await pending;
      arena.bytes.copyWithin(target, source, source + bytes);
      kernels.put(target, bytes);
    }
  }

  /** Bytes of a page, of all layers. */
  get pageBytes(): number {
    return this.#pageBytes.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** A copy of a page: the parts of all layers, in order, whichever arenas they lie in. */
  async read(page: number): Promise<Uint8Array> {
    const copy = new Uint8Array(this.pageBytes);
    let at = 0;
    for (const [a, { arena, kernels }] of this.#parts.contexts.entries()) {
      const [source, bytes] = [this.#addressOf(page, a), this.#pageBytes[a]!];
      const pending = kernels.take(source, bytes);
      if (pending) await pending;
      copy.set(arena.bytes.subarray(source, source + bytes), at);
      at += bytes;
    }
    return copy;
  }

  /** @param copy What {@link read} has given, of `pageBytes` bytes. */
  write(page: number, copy: Uint8Array): void {
    assert(copy.length === this.pageBytes && !this.isShared(page), "a page of the caller's own is written whole");
    let at = 0;
    for (const [a, { arena, kernels }] of this.#parts.contexts.entries()) {
      const [target, bytes] = [this.#addressOf(page, a), this.#pageBytes[a]!];
      arena.bytes.set(copy.subarray(at, at + bytes), target);
      kernels.put(target, bytes);
      at += bytes;
    }
  }

  #addressOf(page: number, arena: number): Ptr {
    return this.#bases[arena]! + page * this.#pageBytes[arena]!;
  }

  #entryPtr(table: number, index: number, arena: number): Ptr {
    return this.#parts.contexts[arena]!.pageTables + 4 * (table * this.#parts.tablePages + index);
  }
}

/** count − 1 … 0: a stack whose first element to be taken is 0. */
function descending(count: number): number[] {
  return Array.from({ length: count }, (_, i) => count - 1 - i);
}
