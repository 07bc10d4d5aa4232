/** Which of many inputs are worth keeping in the repository: those that reach something together, the small ones first. */
import type { BlockCoverage } from "./block-coverage.js";
import type { Harness } from "./harness.js";

/** Of one harness. */
const MOST_KEPT = 12;
const MOST_KEPT_BYTES = 4096;

/**
 * @param coverage Of a thread that has run nothing of the harness yet.
 * @returns At most twelve, each reaching what neither seeds nor smaller ones do.
 */
export async function distil(
  harness: Harness,
  inputs: readonly Uint8Array[],
  coverage: BlockCoverage,
): Promise<Uint8Array[]> {
  for (const seed of await harness.seeds()) await readQuietly(harness, seed);
  coverage.takeNews();
  const kept: Uint8Array[] = [];
  const small = inputs.filter(({ length }) => length <= MOST_KEPT_BYTES).sort((a, b) => a.length - b.length);
  for (const input of small) {
    if (kept.length === MOST_KEPT) break;
    await readQuietly(harness, input.slice());
    if (coverage.takeNews()) kept.push(input);
  }
  return kept;
}

/** What it throws is a campaign's business. */
async function readQuietly(harness: Harness, input: Uint8Array): Promise<void> {
  try {
    await harness.read(input);
  } catch {
    // Refused, as most are.
  }
}
