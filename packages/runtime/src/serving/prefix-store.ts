/**
 * Where the keys and values of prompts outlive the process: whole pages of 16 tokens, each under a key that says which model, which precision, which
 * kernels and which tokens before it they belong to.
 *
 * A store bounds what it keeps, and never gives bytes back that are not those it was given. What goes wrong with it costs time and nothing else: it tells its
 * owner, and answers that the page is not there.
 */
export interface PrefixStore {
  /** @param key 64 hex digits. */
  has(key: string): Promise<boolean>;
  /** The page under `key`; null if there is none of `sizeBytes`, or none that is undamaged. */
  read(key: string, sizeBytes: number): Promise<Uint8Array | null>;
  /** @param bytes Not changed by anybody until this resolves. */
  write(key: string, bytes: Uint8Array): Promise<void>;
}
