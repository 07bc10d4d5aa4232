/** How long arithmetic takes: bytes of weights over the rate that the profile has for them. */
import { blockBytes, blockElements, type DType } from "@flashwick/core";
import type { DeviceProfile, KernelOp, KernelRate } from "./device-profile.js";

export interface KernelUse {
  readonly op: KernelOp;
  readonly dtype: DType | null;
  readonly threads: number;
  /** All that a token passes over, this op's bytes among it: decides what stays in the processor's caches. */
  readonly workingSetBytes: number;
}

/**
 * Weight bytes a second of an op. Where the profile lacks a number of threads, the nearest below is taken; where it lacks a type, the
 * type that is nearest in width, and for a block type its weights a second; where it lacks the op, `linear`; at last DRAM's own rate.
 */
export function kernelBytesPerSec(profile: DeviceProfile, use: KernelUse): number {
  const known = knownRates.get(profile) ?? new Map<string, number>();
  knownRates.set(profile, known);
  const key = `${use.op} ${use.dtype} ${use.threads} ${use.workingSetBytes}`;
  const rate = known.get(key) ?? findRate(profile, use);
  known.set(key, rate);
  return rate;
}

/** Found once for each use: planning asks some ten thousand times. */
const knownRates = new WeakMap<DeviceProfile, Map<string, number>>();

function findRate(profile: DeviceProfile, use: KernelUse): number {
  const ofOp = profile.kernels.filter((rate) => rate.op === use.op);
  const known = ofOp.length > 0 ? ofOp : profile.kernels.filter((rate) => rate.op === "linear");
  if (known.length === 0) return profile.dramBytesPerSec;
  const typed = nearestType(known, use.dtype);
  const threads = Math.max(
    ...typed.map((rate) => rate.threads).filter((n) => n <= use.threads),
    Math.min(...typed.map((rate) => rate.threads)),
  );
  const points = typed.filter((rate) => rate.threads === threads).sort((a, b) => a.workingSetBytes - b.workingSetBytes);
  return rateOf(interpolateBySize(points, use.workingSetBytes), points[0]!.dtype, use.dtype);
}

/**
 * Weight bytes a second of a type that was measured, or of the nearest one. A block type that was not measured multiplies as many weights a second as
 * its nearest: its kernels are held up by arithmetic, not by bytes.
 */
function rateOf(found: number, foundType: DType | null, dtype: DType | null): number {
  if (dtype === null || foundType === null || foundType === dtype || blockElements(dtype) === 1) return found;
  return (found * width(dtype)) / width(foundType);
}

/** How far apart types are: bytes of an element, and bf16 beside f16. */
function width(dtype: DType): number {
  return dtype === "bf16" ? 2.1 : blockBytes(dtype) / blockElements(dtype);
}

function nearestType(rates: readonly KernelRate[], dtype: DType | null): KernelRate[] {
  if (dtype === null) return [...rates];
  const distance = (rate: KernelRate) => (rate.dtype === null ? 0 : Math.abs(width(rate.dtype) - width(dtype)));
  const least = Math.min(...rates.map(distance));
  return rates.filter((rate) => distance(rate) === least);
}

function interpolateBySize(points: readonly KernelRate[], bytes: number): number {
  const next = points.findIndex((point) => point.workingSetBytes >= bytes);
  if (next < 0) return points.at(-1)!.bytesPerSec;
  if (next === 0) return points[0]!.bytesPerSec;
  const [a, b] = [points[next - 1]!, points[next]!];
  const share = Math.log(bytes / a.workingSetBytes) / Math.log(b.workingSetBytes / a.workingSetBytes);
  return a.bytesPerSec * (b.bytesPerSec / a.bytesPerSec) ** share;
}

/** Milliseconds that `bytes` of weights take. */
export function kernelMs(profile: DeviceProfile, use: KernelUse, bytes: number): number {
  return (1000 * bytes) / kernelBytesPerSec(profile, use);
}

/**
 * Milliseconds of multiplying `bytes` of weights with `tokens` vectors at once. The weights are read once, so that a few vectors take no longer
 * than one; many take what their arithmetic does. As the profile's rate of batches is that of wide ones, a few vectors take at most as long as
 * one after the other.
 */
export function kernelBatchMs(
  profile: DeviceProfile,
  use: KernelUse & { readonly dtype: DType },
  bytes: number,
  tokens: number,
): number {
  const onceMs = kernelMs(profile, use, bytes);
  const flop = (2 * tokens * bytes * blockElements(use.dtype)) / blockBytes(use.dtype);
  const arithmeticMs = (1000 * flop) / batchFlopPerSec(profile, use.dtype, use.threads);
  return Math.max(onceMs, Math.min(tokens * onceMs, arithmeticMs));
}

/** Multiplications and additions a second of matrix times matrix; as {@link kernelBytesPerSec} where something is missing. */
export function batchFlopPerSec(profile: DeviceProfile, dtype: DType, threads: number): number {
  const { batch } = profile;
  if (batch.length === 0) {
    const use = { op: "linear", dtype, threads, workingSetBytes: Number.POSITIVE_INFINITY } as const;
    return (2 * kernelBytesPerSec(profile, use)) / width(dtype);
  }
  const least = Math.min(...batch.map((rate) => Math.abs(width(rate.dtype) - width(dtype))));
  const typed = batch.filter((rate) => Math.abs(width(rate.dtype) - width(dtype)) === least);
  const fitting = typed.filter((rate) => rate.threads <= threads);
  return Math.max(...(fitting.length > 0 ? fitting : typed).map((rate) => rate.flopPerSec));
}
