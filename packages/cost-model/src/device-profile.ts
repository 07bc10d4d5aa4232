/**
 * What a machine can do: the figures that predictions stand on. Data only; who measures them is another package's business, and a
 * published device is written down in the same form (device-presets.ts).
 */
import type { DType } from "@flashwick/core";

/** Random reads of one size with so many in flight. */
export interface ReadRatePoint {
  readonly sizeBytes: number;
  readonly depth: number;
  readonly bytesPerSec: number;
  /** (max − min) / mean over repeated turns; null where it was not repeated. */
  readonly spread: number | null;
}

/** `neurons`: up and down projection of chosen slots, bytes of both; `checksum`: CRC-32C; `attention`: keys and values at one query. */
export type KernelOp = "linear" | "neurons" | "checksum" | "attention";

/** Weight bytes a second of one op on vectors (one token). */
export interface KernelRate {
  readonly op: KernelOp;
  /** Null for ops that know no type (`checksum`). */
  readonly dtype: DType | null;
  readonly threads: number;
  /** Bytes that the measurement passed over again and again: what fits a cache is faster than what does not. */
  readonly workingSetBytes: number;
  readonly bytesPerSec: number;
}

/** Matrix times matrix: multiplications and additions a second. */
export interface BatchRate {
  readonly dtype: DType;
  readonly threads: number;
  readonly flopPerSec: number;
}

/** What was measured of the storage. */
export interface FlashProfile {
  readonly mode: "direct" | "buffered";
  readonly alignmentBytes: number;
  /** Large reads, in parallel. */
  readonly sequentialBytesPerSec: number;
  readonly reads: readonly ReadRatePoint[];
  /**
   * Of a batch beside its reads, by reads in flight: threads are woken, and the caller goes on a little after the last read's end.
   * Ascending depths.
   */
  readonly batches: readonly { readonly depth: number; readonly us: number }[];
  /** Of each further piece of memory that a read is scattered to. */
  readonly pieceUs: number;
  /** Share of read throughput that is left while every core computes; null if unknown. */
  readonly shareUnderCompute: number | null;
  /** Share of compute speed that is left while reads fly at full depth; null if unknown. */
  readonly computeShareUnderReads: number | null;
  /** Reads through the page cache on the calling thread, of what is in it; null where that is not done. */
  readonly pageCache: { readonly operationUs: number; readonly bytesPerSec: number } | null;
  /** Null where nobody has measured it: then as random reads of that size, at most as fast as large ones in sequence. */
  readonly stream: StreamProfile | null;
}

/** Streams into the memory that a process is given first: that of a small model. */
export interface FirstMemory {
  /** How much memory is taken for it: a model within it has no other. */
  readonly sizeBytes: number;
  readonly chunks: readonly ReadRatePoint[];
}

/**
 * A stream of layers as the engine reads it: chunk by chunk, each in reads for all readers (`streamReadBytes`), begun together and waited for together,
 * into memory of many places. On virtual disks it matters where they lie: scattered pages of memory are read into at a fraction of the rate.
 */
export interface StreamProfile {
  /** `sizeBytes` of a chunk, `depth` readers: chunks one after the other, nothing computed. In memory as a large model has it. */
  readonly chunks: readonly ReadRatePoint[];
  /** The same in the first memory that a process is given, in pieces; null where that was not measured. */
  readonly firstMemory: FirstMemory | null;
  /** What a chunk takes beyond that where arithmetic goes on before its end and after it: threads fall asleep and are woken. */
  readonly chunkUs: number;
  /** As those of random reads, which take a processor's time that large ones do not. */
  readonly shareUnderCompute: number | null;
  readonly computeShareUnderReads: number | null;
}

/** The cost of deciding what stays, and of putting it there. */
export interface ManagementProfile {
  readonly nsPerNamed: number;
  /** Of a neuron that is read, its eviction and its share of a run included. */
  readonly nsPerLoaded: number;
  /** Of looking at a layer's scores, a neuron. */
  readonly nsPerScore: number;
  /** Loaded bytes that are moved again in DRAM, a second; null where reads land in place. */
  readonly copyBytesPerSec: number | null;
}

/** What was measured, or published, of a machine: storage, memory, kernels. */
export interface DeviceProfile {
  /** 2 since streams of layers are measured as the engine reads them. */
  readonly schemaVersion: 2;
  readonly name: string;
  /** Where the figures come from: a citation, or machine, runtime, path and date of the measurement. */
  readonly source: string;
  readonly cores: number;
  readonly flash: FlashProfile;
  /** A loop that only reads, on all cores. */
  readonly dramBytesPerSec: number;
  readonly kernels: readonly KernelRate[];
  readonly batch: readonly BatchRate[];
  /** Splitting one op over all threads: the hand-over, and the wait for whoever ends last. */
  readonly handOffUs: number;
  /** A small op's fixed cost. */
  readonly opUs: number;
  readonly management: ManagementProfile;
}
