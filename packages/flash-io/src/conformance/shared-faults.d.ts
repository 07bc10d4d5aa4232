/** Longest wait of a read for another one, milliseconds. */
export declare const REORDER_MS: number;

/** Words of the memory that threads share: operations, completed ones, the number of the kind or -1, the operation that it strikes, the seed. */
export declare const FAULT_WORDS: {
  readonly operations: number;
  readonly completed: number;
  readonly kind: number;
  readonly at: number;
  readonly seed: number;
};

/** Reads of several threads, counted together, one of which goes wrong. Each thread has one, over the same words. */
export declare class SharedFaults {
  /**
   * @param words i32 `[5]`, of shared memory: {@link FAULT_WORDS}.
   * @param kinds What the number of a kind stands for.
   */
  constructor(words: Int32Array, kinds: readonly string[]);
  readonly words: Int32Array;
  readonly kinds: readonly string[];
  readonly seed: number;
  /** A read begins; waits, if that is the fault. @returns The kind of fault that strikes it; "" if none does. */
  strike(): string;
  /**
   * A read has ended: flips a bit of what came, or takes back half of it.
   *
   * @param kind  What `strike` gave.
   * @param views What was read into.
   * @param got   Bytes that came.
   * @returns Bytes that came, after the fault.
   */
  spoil(kind: string, views: readonly Uint8Array[], got: number): number;
}
