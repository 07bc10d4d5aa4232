/**
 * The table of faults: what a reader does when one operation of its device goes wrong, whichever it is.
 *
 * Bytes are right or there is a typed error. A wrong bit is the exception: no reader can know, so it brings the bit, once, and whoever has a checksum
 * finds it.
 */
import { changesFile, FAULT_KINDS, type Fault, type FaultKind } from "./fault.js";
import { conformanceFile, ReaderBench, type ReaderUnderTest, wholeRun } from "./reader-bench.js";
import { ConformanceFailure } from "./verdict.js";

/** How reading a batch ends: all bytes are right, all but one bit are, or an error has this code. */
export type FaultOutcome =
  | "right"
  | "one wrong bit"
  | "IO_READ"
  | "IO_NOT_FOUND"
  | "IO_FILE_CHANGED"
  | "FORMAT_TRUNCATED";

/** A reader whose device can be made to fail. */
export interface FaultyReader extends ReaderUnderTest {
  /** What happens at the n-th operation from now on; null: nothing. Operations are counted anew. */
  arm(fault: Fault | null): void;
  /** Operations since the last `arm`. */
  operations(): number;
}

/** A row of the table. */
export interface FaultCase {
  readonly kind: FaultKind;
  readonly title: string;
  /** The outcomes that are right for any reader. */
  readonly outcomes: readonly FaultOutcome[];
}

const TITLES: Readonly<Record<FaultKind, string>> = {
  delay: "a late answer: the right bytes",
  short: "a short read: the rest is read, or asked for again by whoever may ask again",
  "device-error": "a device error: typed, or tried again; the next batch is right",
  "wrong-bit": "a wrong bit: as it came, and no other byte",
  reorder: "an answer that comes after later ones: the right bytes",
  shrink: "a file that becomes shorter: a typed error, or the bytes that were there",
  grow: "a file that becomes longer: a typed error, or the bytes that were there",
  replace: "a file that becomes another: a typed error, or the bytes of the one that was opened",
  delete: "a file that is deleted: a typed error, or its bytes",
};

const OUTCOMES: Readonly<Record<FaultKind, readonly FaultOutcome[]>> = {
  delay: ["right"],
  short: ["right", "IO_READ"],
  "device-error": ["right", "IO_READ"],
  "wrong-bit": ["right", "one wrong bit"],
  reorder: ["right"],
  shrink: ["right", "FORMAT_TRUNCATED", "IO_FILE_CHANGED"],
  grow: ["right", "IO_FILE_CHANGED"],
  replace: ["right", "IO_FILE_CHANGED"],
  delete: ["right", "IO_NOT_FOUND"],
};

/** All rows. */
export const faultCases: readonly FaultCase[] = FAULT_KINDS.map((kind) => ({
  kind,
  title: TITLES[kind],
  outcomes: OUTCOMES[kind],
}));

/** What is read: aligned, scattered, unaligned and long runs. */
const RUNS = [
  wholeRun(8192, 4096, 0),
  { offset: 65536, sizeBytes: 8192, pieces: [pieceAt(16384), pieceAt(8192)], picks: 2 },
  wholeRun(511, 777, 24_577),
  wholeRun(100_001, 70_001, 32_771),
  wholeRun(300_000, 100, 110_000),
  wholeRun(2 ** 20, 777, 111_000),
];

function pieceAt(ptr: number) {
  return { ptr, sizeBytes: 4096 };
}

/**
 * Strikes every operation of a batch in turn, once each.
 *
 * @param open Opens a reader over a file of these bytes that nothing else uses. A fault that changes the file gets a new one each time.
 * @returns Which outcomes there were, and how many operations were struck: the caller may know which one it must be.
 * @throws {ConformanceFailure} for bytes that are wrong, for an error of no code or of another one, and for a reader that cannot go on although its
 *   file is what it was.
 */
export async function runFaultCase(
  { kind, outcomes }: FaultCase,
  open: (file: Uint8Array) => Promise<FaultyReader>,
): Promise<{ readonly outcomes: ReadonlySet<FaultOutcome>; readonly struck: number }> {
  const file = conformanceFile();
  const found = new Set<FaultOutcome>();
  let subject = await open(file.slice());
  try {
    const operations = await countOperations(subject, file);
    for (let at = 1; at <= operations; at++) {
      subject.arm({ kind, at, seed: 100 * at + FAULT_KINDS.indexOf(kind) });
      const outcome = await readAll(subject, file);
      if (subject.operations() < at) throw new ConformanceFailure(`operation ${at} of ${operations} did not come`);
      if (!outcomes.includes(outcome as FaultOutcome)) {
        throw new ConformanceFailure(`${kind} at operation ${at}: expected ${outcomes.join(" or ")}, found ${outcome}`);
      }
      found.add(outcome as FaultOutcome);
      subject.arm(null);
      if (!changesFile(kind)) await new ReaderBench(subject, file).expectUsable();
      else {
        await subject.reader.close();
        if (at < operations) subject = await open(file.slice());
      }
    }
    return { outcomes: found, struck: operations };
  } finally {
    await subject.reader.close();
  }
}

async function countOperations(subject: FaultyReader, file: Uint8Array): Promise<number> {
  subject.arm(null);
  const outcome = await readAll(subject, file);
  if (outcome !== "right") throw new ConformanceFailure(`nothing goes wrong: expected right bytes, found ${outcome}`);
  return subject.operations();
}

async function readAll(subject: FaultyReader, file: Uint8Array): Promise<string> {
  const bench = new ReaderBench(subject, file);
  try {
    await bench.read(RUNS);
  } catch (error) {
    const { code } = error as { readonly code?: string };
    return code ?? String(error);
  }
  const wrongBits = bench.countWrongBits(RUNS);
  if (wrongBits < 2) return wrongBits === 0 ? "right" : "one wrong bit";
  return `${wrongBits} wrong bits`;
}
