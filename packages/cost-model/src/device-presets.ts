/**
 * Devices that others have measured or that their makers describe, in the form of a profile. Figures that nobody has published are null, or
 * stand with the reason for their value.
 */
import { type DType, InputError } from "@flashwick/core";
import type { DeviceProfile, KernelRate, ReadRatePoint } from "./device-profile.js";

const KiB = 1024;
const SIZES = [4, 8, 16, 32, 64, 128].map((kib) => kib * KiB);
const DEPTHS = [1, 2, 4, 8, 16, 32];

/**
 * Random reads by t = operation / min(depth, parallel) + size / bandwidth: the affine law that is left of a device when only a latency, a rate
 * of operations and a bandwidth are known.
 */
function affineReads(operationUs: number, parallel: number, bytesPerSec: number): ReadRatePoint[] {
  return DEPTHS.flatMap((depth) =>
    SIZES.map((sizeBytes) => {
      const seconds = operationUs / 1e6 / Math.min(depth, parallel) + sizeBytes / bytesPerSec;
      return { sizeBytes, depth, bytesPerSec: sizeBytes / seconds, spread: null };
    }),
  );
}

/** One rate for all arithmetic on vectors. */
function oneRate(bytesPerSec: number, dtype: DType, cores: number): KernelRate[] {
  return (["linear", "neurons", "attention"] as const).flatMap((op) =>
    [1, cores].map((threads) => ({ op, dtype, threads, workingSetBytes: 2 ** 30, bytesPerSec })),
  );
}

/** What no publication tells: the cost of calls and of deciding, taken as nothing. */
const UNKNOWN = {
  handOffUs: 0,
  opUs: 0,
  management: { nsPerNamed: 0, nsPerLoaded: 0, nsPerScore: 0, copyBytesPerSec: null },
} as const;

const FLASH = {
  mode: "direct" as const,
  alignmentBytes: 4096,
  batches: [{ depth: 1, us: 0 }],
  pieceUs: 0,
  shareUnderCompute: null,
  computeShareUnderReads: null,
  pageCache: null,
  stream: null,
};

/**
 * LLM in a flash measures, with 32 threads and 16 bit, 1.25 GB/s for single rows of OPT 6.7B (8 KiB) and 2.25 GB/s for bundles (16 KiB),
 * and 6.1 GB/s in sequence (table 2). Between and beyond them time is affine in size.
 */
const M1_READS: ReadRatePoint[] = [
  { sizeBytes: 8 * KiB, depth: 32, bytesPerSec: 1.25e9, spread: null },
  { sizeBytes: 16 * KiB, depth: 32, bytesPerSec: 2.25e9, spread: null },
];

/**
 * Its Persimmon 8B with nucleus sampling (table 5: 310.52 ms of I/O, 155.80 of memory management, 623.74 of compute on the CPU in 32 bit), a run
 * that is none of table 3's: 310.52 ms at the 3.75 GB/s that 32 KiB bundles reach by the law above are 1.165 GB, moved in 155.80 ms; and
 * compute passes over 4.9e9 weights (attention, head, predictors, a quarter of the FFN) of 4 bytes.
 */
const M1_COPY_BYTES_PER_SEC = 1.165e9 / 0.1558;
const M1_COMPUTE_BYTES_PER_SEC = (4.9e9 * 4) / 0.62374;

/** Weights that a dense pass of OPT 6.7B in 16 bit multiplies with. */
const OPT_DENSE_BYTES = 13.3e9;

const PROFILES: readonly DeviceProfile[] = [
  {
    schemaVersion: 2,
    name: "paper-m1-max",
    source:
      "LLM in a flash (arXiv 2312.11514v3): table 2 for flash, the Persimmon run of table 5 for compute and memory management",
    cores: 10,
    flash: { ...FLASH, sequentialBytesPerSec: 6.1e9, reads: M1_READS },
    // LPDDR5, 512 bits wide: Apple, "Introducing M1 Pro and M1 Max", 2021.
    dramBytesPerSec: 400e9,
    kernels: oneRate(M1_COMPUTE_BYTES_PER_SEC, "f32", 10),
    batch: [],
    ...UNKNOWN,
    management: { ...UNKNOWN.management, copyBytesPerSec: M1_COPY_BYTES_PER_SEC },
  },
  {
    schemaVersion: 2,
    name: "paper-m1-max-metal",
    source: "LLM in a flash: paper-m1-max, with the compute of table 3's naive row on Metal (193 ms for a dense pass)",
    cores: 10,
    flash: { ...FLASH, sequentialBytesPerSec: 6.1e9, reads: M1_READS },
    dramBytesPerSec: 400e9,
    kernels: oneRate(OPT_DENSE_BYTES / 0.193, "f16", 10),
    batch: [],
    ...UNKNOWN,
    management: { ...UNKNOWN.management, copyBytesPerSec: M1_COPY_BYTES_PER_SEC },
  },
  {
    schemaVersion: 2,
    name: "paper-m2-ultra",
    source:
      "LLM in a flash, table 3: 2145 ms for 13.4 GB in sequence; random reads as on its M1 Max, which the paper does not break down",
    cores: 24,
    flash: { ...FLASH, sequentialBytesPerSec: 13.4e9 / 2.145, reads: M1_READS },
    // Apple, "Introducing M2 Ultra", 2023.
    dramBytesPerSec: 800e9,
    // Table 3's naive row on this machine: 125 ms for the 13.3 GB of a dense pass in 16 bit.
    kernels: oneRate(OPT_DENSE_BYTES / 0.125, "f16", 24),
    batch: [],
    ...UNKNOWN,
    management: { ...UNKNOWN.management, copyBytesPerSec: M1_COPY_BYTES_PER_SEC },
  },
  {
    schemaVersion: 2,
    name: "paper-rtx-4090",
    source:
      "LLM in a flash, table 3 (Linux, GeForce RTX 4090): random reads as on its M1 Max, which the paper does not break down",
    cores: 16,
    flash: { ...FLASH, sequentialBytesPerSec: 6.1e9, reads: M1_READS },
    // NVIDIA Ada GPU architecture white paper: GDDR6X, 384 bits, 21 Gbit/s.
    dramBytesPerSec: 1008e9,
    // Table 3's naive row on this machine: 22 ms for the 13.3 GB of a dense pass in bfloat16.
    kernels: oneRate(OPT_DENSE_BYTES / 0.022, "f16", 16),
    batch: [],
    ...UNKNOWN,
    management: { ...UNKNOWN.management, copyBytesPerSec: M1_COPY_BYTES_PER_SEC },
  },
  {
    schemaVersion: 2,
    name: "ufs-4.0",
    source:
      "a phone: PowerInfer-2 (arXiv 2406.06282, section 2.3, UFS 4.0 beside a Snapdragon 8 Gen 3): at random 450 MB/s in 4 KiB and 3.5 GB/s in 512 KiB, 4 GB/s in sequence; one queue, which more threads do not help. 4 KiB within 128 MiB reach 1 GB/s, which is left out: models are larger. Compute rates are assumed",
    cores: 8,
    flash: {
      ...FLASH,
      sequentialBytesPerSec: 4e9,
      // One operation every 4 KiB / 450 MB/s beyond its bytes, whatever the depth: the queue is one.
      reads: affineReads(1e6 * ((4 * KiB) / 450e6 - (4 * KiB) / 3.5e9), 1, 3.5e9),
    },
    // LPDDR5X: 64 bits at 8.533 Gbit/s would be 68 GB/s; some 60 are reached.
    dramBytesPerSec: 60e9,
    kernels: oneRate(40e9, "int8", 8),
    batch: [],
    ...UNKNOWN,
  },
  {
    schemaVersion: 2,
    name: "nvme-pcie4",
    source:
      "Samsung 990 Pro, data sheet 2022: 7.45 GB/s in sequence, 22,000 random reads of 4 KiB a second one by one, 1.4 million with 32 x 16 in flight; DDR5-4800 in two channels",
    cores: 8,
    flash: { ...FLASH, alignmentBytes: 512, sequentialBytesPerSec: 7.45e9, reads: affineReads(45, 64, 7.45e9) },
    dramBytesPerSec: 76.8e9,
    kernels: oneRate(60e9, "f16", 8),
    batch: [],
    ...UNKNOWN,
  },
  {
    schemaVersion: 2,
    name: "sata-ssd",
    source:
      "Samsung 870 EVO, data sheet 2021: 560 MB/s in sequence, 13,000 random reads of 4 KiB a second one by one, 98,000 with 32 in flight; DDR4-3200 in two channels",
    cores: 4,
    flash: { ...FLASH, alignmentBytes: 512, sequentialBytesPerSec: 560e6, reads: affineReads(70, 25, 560e6) },
    dramBytesPerSec: 51.2e9,
    kernels: oneRate(35e9, "f16", 4),
    batch: [],
    ...UNKNOWN,
  },
  {
    schemaVersion: 2,
    name: "opfs-chromium",
    source:
      "Chromium 156 on a shared 2-core virtual machine, within 1 GiB: synchronous reads of a private file, 16 KiB: 280 MB/s by one worker, 657 by four, 917 by sixteen",
    cores: 2,
    flash: {
      ...FLASH,
      mode: "buffered",
      alignmentBytes: 1,
      sequentialBytesPerSec: 1.3e9,
      reads: [
        { depth: 1, bytesPerSec: 280e6 },
        { depth: 4, bytesPerSec: 657e6 },
        { depth: 16, bytesPerSec: 917e6 },
      ].map((point) => ({ ...point, sizeBytes: 16 * KiB, spread: null })),
    },
    dramBytesPerSec: 40e9,
    kernels: [
      ...oneRate(20e9, "f16", 2).map((rate) => ({ ...rate, bytesPerSec: rate.threads === 1 ? 15e9 : 28e9 })),
      ...oneRate(20e9, "int8", 2).map((rate) => ({ ...rate, bytesPerSec: rate.threads === 1 ? 25e9 : 40e9 })),
    ],
    batch: [],
    ...UNKNOWN,
  },
];

/** Names of the published devices that {@link devicePreset} knows. */
export const DEVICE_PRESETS: readonly string[] = PROFILES.map(({ name }) => name);

/** @throws {InputError} `INPUT_INVALID` listing the names. */
export function devicePreset(name: string): DeviceProfile {
  const profile = PROFILES.find((preset) => preset.name === name);
  if (profile) return profile;
  throw new InputError(
    "INPUT_INVALID",
    `unknown device preset ${JSON.stringify(name)}, expected one of ${DEVICE_PRESETS.join(", ")}`,
    { details: { field: "preset", found: name } },
  );
}
