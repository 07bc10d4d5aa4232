/** Test support: a device that makes sense. */
import type { DeviceProfile } from "@flashwick/cost-model";

export const profile: DeviceProfile = {
  schemaVersion: 2,
  name: "a machine of the tests",
  source: "made up",
  cores: 2,
  flash: {
    mode: "direct",
    alignmentBytes: 512,
    sequentialBytesPerSec: 2e9,
    reads: [1, 16].flatMap((depth) =>
      [4096, 16384, 65536].map((sizeBytes) => ({
        sizeBytes,
        depth,
        bytesPerSec: sizeBytes / (80e-6 / depth + sizeBytes / 2e9),
        spread: null,
      })),
    ),
    batches: [{ depth: 1, us: 30 }],
    pieceUs: 0.5,
    shareUnderCompute: 0.8,
    computeShareUnderReads: 0.8,
    pageCache: { operationUs: 2, bytesPerSec: 5e9 },
    stream: null,
  },
  dramBytesPerSec: 30e9,
  kernels: (["linear", "neurons", "checksum", "attention"] as const).flatMap((op) =>
    [1, 2].map((threads) => ({
      op,
      dtype: op === "checksum" ? null : ("f16" as const),
      threads,
      workingSetBytes: 2e8,
      bytesPerSec: 12e9 * threads,
    })),
  ),
  batch: [{ dtype: "f16", threads: 2, flopPerSec: 8e10 }],
  handOffUs: 2,
  opUs: 1,
  management: { nsPerNamed: 20, nsPerLoaded: 200, nsPerScore: 1, copyBytesPerSec: null },
};
