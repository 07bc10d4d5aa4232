/**
 * The lines of a write journal: which plan is being carried out, and which parts are done, with their checksums.
 *
 * A line is believed only as far as the bytes bear it out (write-model.ts reads them back), so nothing has to be made
 * durable before it is noted, and a torn last line costs one tensor.
 */

import type { SquareSums } from "./quantisation-loss.js";

/** One finished part: a resident tensor, or a layer's records. */
export interface FinishedPart {
  /** The tensor's name, or `blk.<l>.ffn`. */
  readonly name: string;
  readonly sourceCrc32c: number;
  /** CRC-32C of what was written: elements and, for int8, scales; for records, that of their checksums. */
  readonly crcs: readonly number[];
  /** What quantising it has cost. */
  readonly squares: SquareSums;
}

export function encodePlanLine(planHash: string): string {
  return JSON.stringify({ plan: planHash });
}

export function encodePartLine(part: FinishedPart): string {
  return JSON.stringify(part);
}

/**
 * The finished parts that a journal tells of; null if it belongs to another plan (or is empty).
 * Lines that do not parse are passed over.
 */
export function decodeJournal(lines: readonly string[], planHash: string): FinishedPart[] | null {
  if (lines[0] !== encodePlanLine(planHash)) return null;
  return lines.slice(1).flatMap((line) => {
    const part = parse(line);
    return isFinishedPart(part) ? [part] : [];
  });
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function isFinishedPart(value: unknown): value is FinishedPart {
  if (typeof value !== "object" || value === null) return false;
  const { name, sourceCrc32c, crcs, squares } = value as Record<string, unknown>;
  const isWritten = typeof name === "string" && isCrc(sourceCrc32c) && Array.isArray(crcs) && crcs.every(isCrc);
  return isWritten && typeof squares === "object" && squares !== null && Object.values(squares).every(isPair);
}

function isPair(value: unknown): boolean {
  return Array.isArray(value) && value.length === 2 && value.every((n) => typeof n === "number");
}

function isCrc(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}
