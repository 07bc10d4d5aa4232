/**
 * Where the keys and values of prompts outlive the process: whole pages of 16 tokens. A page's key stands for the model, the precision, the kernels and
 * all tokens up to the end of the page.
 *
 * A store bounds what it keeps, and gives back the bytes that it was given or none. A failure of the store costs time and nothing else: the store tells its
 * owner, and answers that the page is not there.
 */
export interface PrefixStore {
  /**
   * Whether pages are stored under this key.
   *
   * @param key 64 hex digits.
   */
  has(key: string): Promise<boolean>;
  /** The page under `key`; null if there is none of `sizeBytes`, or none that is undamaged. */
  read(key: string, sizeBytes: number): Promise<Uint8Array | null>;
  /**
   * Stores pages under a key.
   *
   * @param bytes Not changed by anybody until this resolves.
   */
  write(key: string, bytes: Uint8Array): Promise<void>;
}
