/** The speed of light of one decoded token (design, section 1): everything else is overhead. */

/** Bytes that a token must move, and the bandwidths that move them. */
export interface TokenLimitInput {
  /** Weights that a token reads from DRAM: resident ones and the named neurons. */
  readonly dramBytes: number;
  readonly dramBytesPerSec: number;
  /** Neurons that a token must fetch. */
  readonly flashBytes: number;
  /** At the read size and queue depth in use. */
  readonly flashBytesPerSec: number;
  /** What both reach at the same time; null: they cannot be done at the same time. Default: neither slows the other down. */
  readonly together?: Bandwidths | null;
}

/** Bandwidths of DRAM and flash, bytes a second. */
export interface Bandwidths {
  readonly dramBytesPerSec: number;
  readonly flashBytesPerSec: number;
}

/** The least time of a token, and which bandwidth sets it. */
export interface TokenLimits {
  readonly dramMs: number;
  readonly flashMs: number;
  /** Both at once, as far as the data allows: never less than the larger of the two, nor more than their sum. */
  readonly overlappedMs: number;
  readonly bound: "dram" | "flash";
}

/** Least milliseconds of one decoded token. */
export function tokenLimits(input: TokenLimitInput): TokenLimits {
  const dramMs = (1000 * input.dramBytes) / input.dramBytesPerSec;
  const flashMs = (1000 * input.flashBytes) / input.flashBytesPerSec;
  const bound = flashMs > dramMs ? "flash" : "dram";
  return { dramMs, flashMs, overlappedMs: overlappedMs(input, dramMs, flashMs), bound };
}

function overlappedMs({ dramBytes, flashBytes, together }: TokenLimitInput, dramMs: number, flashMs: number): number {
  const [least, most] = [Math.max(dramMs, flashMs), dramMs + flashMs];
  if (together === undefined) return least;
  if (together === null) return most;
  const slowDramMs = (1000 * dramBytes) / together.dramBytesPerSec;
  const slowFlashMs = (1000 * flashBytes) / together.flashBytesPerSec;
  // Whichever ends first leaves the rest of the other undisturbed.
  const bothMs = Math.min(slowDramMs, slowFlashMs);
  const restMs = dramMs * (1 - bothMs / slowDramMs || 0) + flashMs * (1 - bothMs / slowFlashMs || 0);
  return Math.min(most, Math.max(least, bothMs + restMs));
}
