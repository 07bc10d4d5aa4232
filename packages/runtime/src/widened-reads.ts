/** Reads of a stretch of a model's file that begins and ends anywhere: widened to sectors, so that direct reads land in place. Pure. */
import { type ByteSource, partAt } from "@flashwick/core";
import { SECTOR_BYTES } from "@flashwick/cost-model";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import type { Ptr } from "@flashwick/kernels";

export interface WidenedReads {
  /** The model's file, which no read goes beyond. */
  readonly source: Pick<ByteSource, "sizeBytes" | "parts">;
  readonly reader: Pick<FlashReader, "alignmentBytes">;
  /** Of one read; a multiple of the sector. */
  readonly mostBytes: number;
}

/**
 * @param ptr Where the byte at `begin` lands; as far behind a multiple of the sector as `begin` is.
 */
export function widenedReads(begin: number, end: number, ptr: Ptr, reads: WidenedReads): FlashRun[] {
  const { source, reader, mostBytes } = reads;
  const unit = SECTOR_BYTES % reader.alignmentBytes === 0 ? reader.alignmentBytes : 1;
  const from = begin - (begin % unit);
  const to = Math.min(Math.ceil(end / unit) * unit, endOfFile(source, begin));
  return Array.from({ length: Math.ceil((to - from) / mostBytes) }, (_, i) => {
    const offset = from + i * mostBytes;
    const sizeBytes = Math.min(mostBytes, to - offset);
    return { offset, sizeBytes, pieces: [{ ptr: ptr + offset - begin, sizeBytes }], picks: 0 };
  });
}

/** Of the file that an offset is in. */
function endOfFile({ sizeBytes, parts }: WidenedReads["source"], offset: number): number {
  if (!parts) return sizeBytes;
  const part = partAt(parts, offset);
  return part.begin + part.sizeBytes;
}
