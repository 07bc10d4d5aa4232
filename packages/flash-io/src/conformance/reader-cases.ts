/**
 * The conformance table of readers: one list of cases that runs on every `FlashReader`.
 *
 * A case gets a reader over a file of its own ({@link conformanceFile}) and closes neither. What a case needs beyond the contract
 * (reads that are held back, a file that is cut) is an {@link Intervention}; where a platform does not have it, the case is
 * skipped visibly.
 */
import { endingCases } from "./ending-cases.js";
import { landingCases } from "./landing-cases.js";
import { conformanceFile, ReaderBench, type ReaderUnderTest } from "./reader-bench.js";
import type { ReaderCase } from "./reader-case.js";
import { waitingCases } from "./waiting-cases.js";

/** All cases: what lands where, what waiting returns, how a batch ends. */
export const readerCases: readonly ReaderCase[] = [...landingCases, ...waitingCases, ...endingCases];

/**
 * Opens a reader and runs `c` on it; closes it, whatever happens.
 *
 * @param open Opens a reader over a file of these bytes that nothing else uses.
 * @throws {ConformanceFailure} naming what was expected and what was found.
 */
export async function runReaderCase(
  c: ReaderCase,
  open: (file: Uint8Array) => Promise<ReaderUnderTest>,
): Promise<void> {
  const file = conformanceFile();
  const subject = await open(file.slice());
  try {
    await c.run(new ReaderBench(subject, file));
  } finally {
    await subject.reader.close();
  }
}
