/**
 * The conformance table on a device, as the table is: one op after the other, each with its result in the arena at once. Runs in a worker, which waits
 * for whoever has the device (device-host.ts): every op brings the used part of the arena there and back.
 */
import { Arena, type TrainingKernels } from "@flashwick/kernels";
import {
  CONFORMANCE_ARENA_BYTES,
  type ConformanceCase,
  conformanceCases,
  runConformanceCase,
  titleOf,
} from "@flashwick/kernels/conformance";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { DEVICE_DTYPES } from "../device-dtype.js";
import { DEVICE_SCRATCH } from "../mirror-kernels.js";

/** How a driver reaches its host: `post` a message; then `control[0]` changes, and is 2 if it went wrong; `control[1]` is what the op returns. */
export interface HostLink {
  readonly control: Int32Array;
  /** Sends a request to the thread that has the device. */
  post(message: HostRequest): void;
}

/** What the thread of the conformance table asks of the thread that has the device. */
export type HostRequest =
  | { readonly kind: "open"; readonly memory: SharedArrayBuffer; readonly control: SharedArrayBuffer }
  | { readonly kind: "op"; readonly op: string; readonly args: readonly unknown[]; readonly usedBytes: number }
  | { readonly kind: "result"; readonly result: CaseResult };

/** How a case of the table ended. */
export interface CaseResult {
  readonly title: string;
  /** Null: it holds. */
  readonly failure: string | null;
}

/** Ops of the table that a device has; the others are training's, or the host's (checksums). */
const DEVICE_OPS: ReadonlySet<ConformanceCase["op"]> = new Set([
  "linear",
  "ffn",
  "ffn-extremes",
  "attention",
  "layerNorm",
  "rmsNorm",
  "normHeads",
  "gate",
  "rotate",
  "elementwise",
  "rows",
  "selectAbove",
]);

/** Other blocks than those of `DEVICE_DTYPES` are refused by name (`requireDeviceDType`). */
export function isDeviceCase(c: ConformanceCase): boolean {
  const isWeights = c.op === "linear" || c.op === "ffn" || c.op === "ffn-extremes";
  return DEVICE_OPS.has(c.op) && !(isWeights && !DEVICE_DTYPES.includes(c.dtype));
}

const OPS = [
  "linear",
  "ffnUp",
  "ffnDown",
  "layerNorm",
  "rmsNorm",
  "normHeads",
  "gate",
  "scale",
  "add",
  "addScaled",
  "copyRows",
  "addRowsScaled",
  "relu",
  "zero",
  "gatherRow",
  "storeKv",
  "rotate",
  "attention",
  "selectAbove",
] as const;

/**
 * Runs every case that is a device's, and posts each result; the last one is called `end`.
 *
 * @param link Tells the host of the memory that both share, and connects the two.
 */
export function runDeviceTable(link: (memory: SharedArrayBuffer) => HostLink): void {
  const arena = new Arena(CONFORMANCE_ARENA_BYTES, true);
  const host = link(arena.memory.buffer as unknown as SharedArrayBuffer);
  const call = (op: string, args: readonly unknown[]) => {
    Atomics.store(host.control, 0, 0);
    host.post({ kind: "op", op, args, usedBytes: (arena.mark() + 3) & ~3 });
    Atomics.wait(host.control, 0, 0);
    if (Atomics.load(host.control, 0) === 2) throw new Error(`the device failed at ${op}`);
    return Atomics.load(host.control, 1);
  };
  const device = Object.fromEntries(OPS.map((op) => [op, (...args: unknown[]) => call(op, args)])) as unknown as Pick<
    TrainingKernels,
    (typeof OPS)[number]
  >;
  const kernels: TrainingKernels = { ...createReferenceKernels(arena), ...DEVICE_SCRATCH, ...device };
  for (const c of conformanceCases) {
    if (!isDeviceCase(c)) continue;
    let failure: string | null = null;
    try {
      runConformanceCase(kernels, c);
    } catch (error) {
      failure = (error as Error).message;
    }
    host.post({ kind: "result", result: { title: titleOf(c), failure } });
  }
  host.post({ kind: "result", result: { title: "end", failure: null } });
}
