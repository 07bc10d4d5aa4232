/** The speed of light of one decoded token (design, section 1): everything else is overhead. */

export interface TokenLimitInput {
  /** Weights that a token reads from DRAM: resident ones and the named neurons. */
  readonly dramBytes: number;
  readonly dramBytesPerSec: number;
  /** Neurons that a token must fetch. */
  readonly flashBytes: number;
  /** At the read size and queue depth in use. */
  readonly flashBytesPerSec: number;
}

export interface TokenLimits {
  readonly dramMs: number;
  readonly flashMs: number;
  /** Both at once, as far as the data allows: the larger of the two. */
  readonly overlappedMs: number;
  readonly bound: "dram" | "flash";
}

/** Least milliseconds of one decoded token. */
export function tokenLimits(input: TokenLimitInput): TokenLimits {
  const dramMs = (1000 * input.dramBytes) / input.dramBytesPerSec;
  const flashMs = (1000 * input.flashBytes) / input.flashBytesPerSec;
  return { dramMs, flashMs, overlappedMs: Math.max(dramMs, flashMs), bound: flashMs > dramMs ? "flash" : "dram" };
}
