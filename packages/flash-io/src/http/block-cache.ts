/**
 * The blocks of a file that were fetched last: a header is read in many small pieces, and neighbours of what is asked for are
 * asked for next.
 *
 * Invariant: a block is fetched once for all callers that wait for it. A caller that aborts stops waiting; the fetch is aborted
 * when nobody waits for it any more.
 */

export const BLOCK_BYTES = 2 ** 20;

/** Fetches `sizeBytes` bytes from `offset`. */
export type FetchBlock = (offset: number, sizeBytes: number, signal: AbortSignal) => Promise<Uint8Array>;

interface Block {
  readonly bytes: Promise<Uint8Array>;
  readonly stop: AbortController;
  /** Callers that wait for it. */
  waiting: number;
  settled: boolean;
}

export class BlockCache {
  /** By index, the one asked for last at the end. */
  readonly #blocks = new Map<number, Block>();

  /**
   * @param sizeBytes Of the file.
   * @param kept      Blocks that are kept.
   */
  constructor(
    private readonly sizeBytes: number,
    private readonly kept: number,
    private readonly fetchBlock: FetchBlock,
  ) {}

  /**
   * Fills `target` with the bytes from `offset` on, which lie within the file.
   *
   * @throws What fetching throws; the signal's own reason.
   */
  async read(target: Uint8Array, offset: number, signal: AbortSignal | undefined): Promise<void> {
    const end = offset + target.byteLength;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / BLOCK_BYTES);
      const bytes = await this.#await(index, signal);
      const from = at - index * BLOCK_BYTES;
      const count = Math.min(bytes.length - from, end - at);
      target.set(bytes.subarray(from, from + count), at - offset);
      at += count;
    }
  }

  clear(): void {
    this.#blocks.clear();
  }

  async #await(index: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const block = this.#blockAt(index);
    block.waiting++;
    try {
      return await unlessAborted(block.bytes, signal);
    } finally {
      block.waiting--;
      if (block.waiting === 0 && !block.settled) {
        this.#forget(index, block);
        block.stop.abort(signal?.reason);
      }
    }
  }

  #blockAt(index: number): Block {
    const known = this.#blocks.get(index) ?? this.#fetch(index);
    this.#blocks.delete(index);
    this.#blocks.set(index, known);
    if (this.#blocks.size > this.kept) this.#blocks.delete(this.#blocks.keys().next().value!);
    return known;
  }

  #fetch(index: number): Block {
    const offset = index * BLOCK_BYTES;
    const stop = new AbortController();
    const bytes = this.fetchBlock(offset, Math.min(BLOCK_BYTES, this.sizeBytes - offset), stop.signal);
    const block: Block = { bytes, stop, waiting: 0, settled: false };
    bytes.then(
      () => {
        block.settled = true;
      },
      () => {
        block.settled = true;
        this.#forget(index, block);
      },
    );
    return block;
  }

  #forget(index: number, block: Block): void {
    if (this.#blocks.get(index) === block) this.#blocks.delete(index);
  }
}

/** Settles as `work` does, or throws the signal's reason once it is aborted. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
