/** Sizes as people write them: `512KiB`, `8MiB`, `3.5GiB`, a plain number of bytes, or `50%` of the model file. */
import { GiB, KiB, MiB } from "@flashwick/core";

export type ByteSize =
  | { readonly kind: "bytes"; readonly bytes: number }
  /** 50 for `50%`. */
  | { readonly kind: "share"; readonly percent: number };

const UNITS: Readonly<Record<string, number>> = { KiB, MiB, GiB, TiB: 1024 * GiB };

export const BYTE_SIZE_FORMS = "a size such as 512KiB, 8MiB, 3.5GiB, 1048576 (bytes) or 50% (of the model file)";

/** @returns Null if `text` is not one of the forms. Bytes are rounded down. */
export function parseByteSize(text: string): ByteSize | null {
  const match = /^(\d+(?:\.\d+)?)(KiB|MiB|GiB|TiB|%)?$/.exec(text.trim());
  if (!match) return null;
  const value = Number(match[1]);
  const unit = match[2];
  if (unit === "%") return { kind: "share", percent: value };
  if (unit === undefined && !Number.isInteger(value)) return null;
  const bytes = Math.floor(value * (unit === undefined ? 1 : UNITS[unit]!));
  return Number.isSafeInteger(bytes) ? { kind: "bytes", bytes } : null;
}

/** @param fileBytes What percentages are of. */
export function resolveByteSize(size: ByteSize, fileBytes: number): number {
  return size.kind === "bytes" ? size.bytes : Math.floor((size.percent * fileBytes) / 100);
}
