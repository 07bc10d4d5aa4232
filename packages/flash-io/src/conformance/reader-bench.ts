/** A reader that is being judged, its file, and memory to read into. */
import { Random } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import type { FlashRun } from "../run-plan.js";
import { ConformanceFailure } from "./verdict.js";

/** Size of the file that every case reads: no multiple of any alignment. */
export const CONFORMANCE_FILE_BYTES = 2 ** 20 + 777;
const MEMORY_BYTES = 2 ** 19;

/** What a platform can do to a reader or to its file, for the cases that need it. */
export type Intervention = "hold" | "cut" | "change";

/** A reader over a file of its own. Interventions that the platform does not have are absent. */
export interface ReaderUnderTest {
  readonly reader: FlashReader;
  /** Holds back all reads that have not begun, until the function that it gives is called. */
  readonly hold?: () => () => void;
  /** Cuts the open file to this many bytes, behind the reader's back. */
  readonly cut?: (sizeBytes: number) => void;
  /** Writes to the open file or replaces it, behind the reader's back. */
  readonly change?: () => void;
}

/** The bytes of the file that every case reads. */
export function conformanceFile(): Uint8Array {
  const random = new Random(20231212);
  const words = Uint32Array.from({ length: Math.ceil(CONFORMANCE_FILE_BYTES / 4) }, () => random.next());
  return new Uint8Array(words.buffer, 0, CONFORMANCE_FILE_BYTES);
}

export class ReaderBench {
  readonly reader: FlashReader;
  readonly random = new Random(7);
  readonly memory: Uint8Array;

  constructor(
    readonly subject: ReaderUnderTest,
    readonly file: Uint8Array,
  ) {
    this.reader = subject.reader;
    this.memory = this.allocate();
  }

  /** Memory that the reader takes, zeroed. */
  allocate(): Uint8Array {
    if (!this.reader.needsSharedMemory) return new Uint8Array(MEMORY_BYTES);
    const pages = MEMORY_BYTES / 65536;
    return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
  }

  /** Starts `runs`, and waits for all of them. */
  async read(runs: readonly FlashRun[], signal?: AbortSignal): Promise<void> {
    this.reader.start(this.memory, runs, signal);
    await this.reader.wait();
  }

  /** Fails unless the bytes of every run are where its pieces want them. */
  expectLanded(runs: readonly FlashRun[], memory = this.memory): void {
    for (const run of runs) {
      let from = run.offset;
      for (const { ptr, sizeBytes } of run.pieces) {
        for (let i = 0; i < sizeBytes; i++) {
          if (memory[ptr + i] === this.file[from + i]) continue;
          throw new ConformanceFailure(
            `run of ${run.sizeBytes} bytes at ${run.offset}: byte ${from + i} of the file is not at ${ptr + i}`,
          );
        }
        from += sizeBytes;
      }
    }
  }

  /** Bits of what the runs should have brought that are not as in the file. */
  countWrongBits(runs: readonly FlashRun[]): number {
    let count = 0;
    for (const run of runs) {
      let from = run.offset;
      for (const { ptr, sizeBytes } of run.pieces) {
        for (let i = 0; i < sizeBytes; i++) {
          for (let bits = this.memory[ptr + i]! ^ this.file[from + i]!; bits !== 0; bits &= bits - 1) count++;
        }
        from += sizeBytes;
      }
    }
    return count;
  }

  /** Fails unless no byte has been written to the memory. */
  expectUntouched(): void {
    const at = this.memory.findIndex((byte) => byte !== 0);
    if (at >= 0) throw new ConformanceFailure(`byte ${at} of the memory was written to`);
  }

  /** Fails unless the reader, after whatever has happened, reads a batch as if nothing had. */
  async expectUsable(): Promise<void> {
    const runs = recordRuns(20);
    await this.read(runs);
    this.expectLanded(runs);
  }
}

/** One run of one piece. */
export function wholeRun(offset: number, sizeBytes: number, ptr = 0): FlashRun {
  return { offset, sizeBytes, pieces: [{ ptr, sizeBytes }], picks: 1 };
}

/** `count` reads of 4 KiB, up to 128, aligned, all over the file; each to a place of its own. */
export function recordRuns(count: number): FlashRun[] {
  return Array.from({ length: count }, (_, i) => wholeRun(((i * 37) % 256) * 4096, 4096, i * 4096));
}
