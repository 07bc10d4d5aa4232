/**
 * Several files that are read as one, such as the parts of a split model. Each begins where `partBegins` says, so that what is aligned in its file
 * is aligned among the offsets of all; nothing lies between.
 */
import { assert } from "./assert.js";
import { type ByteSource, type SourcePart, truncatedError } from "./byte-source.js";

/** What direct reads may ask of offsets, at most. */
const PART_ALIGNMENT_BYTES = 4096;

/** Offsets at which files of these sizes begin: one behind the other, on multiples of 4096. */
export function partBegins(sizes: readonly number[]): number[] {
  let next = 0;
  return sizes.map((sizeBytes) => {
    const begin = next;
    next = Math.ceil((begin + sizeBytes) / PART_ALIGNMENT_BYTES) * PART_ALIGNMENT_BYTES;
    return begin;
  });
}

/** The part that an offset is in, or behind the end of. @param parts Ascending; the first begins at 0. */
export function partAt<Part extends { readonly begin: number }>(parts: readonly Part[], offset: number): Part {
  let at = parts.length - 1;
  while (at > 0 && parts[at]!.begin > offset) at--;
  assert(parts[at] !== undefined, "there is a part");
  return parts[at];
}

/** An offset of a source as that of the file that it is in. */
export function sourcePlace(
  { name, parts }: Pick<ByteSource, "name" | "parts">,
  offset: number,
): { readonly name: string; readonly offset: number } {
  if (!parts) return { name, offset };
  const part = partAt(parts, offset);
  return { name: part.name, offset: offset - part.begin };
}

/**
 * Sources as one. It has the name and the siblings of the first, and closes all of them.
 *
 * A read lies in one part: beyond that part's end it is `FORMAT_TRUNCATED`, as at the end of any source.
 */
export function joinedSource(sources: readonly ByteSource[]): ByteSource & { readonly parts: readonly SourcePart[] } {
  const begins = partBegins(sources.map(({ sizeBytes }) => sizeBytes));
  const parts = sources.map((source, i) => ({
    ...{ source, name: source.name, begin: begins[i]!, sizeBytes: source.sizeBytes },
  }));
  const last = parts.at(-1)!;
  const openSibling = sources[0]!.openSibling?.bind(sources[0]);
  return {
    name: sources[0]!.name,
    sizeBytes: last.begin + last.sizeBytes,
    parts: parts.map(({ name, begin, sizeBytes }) => ({ name, begin, sizeBytes })),
    async read(target, offset, signal) {
      if (offset < 0) throw truncatedError(parts[0]!.name, offset, target.byteLength, parts[0]!.sizeBytes);
      const { source, begin } = partAt(parts, offset);
      await source.read(target, offset - begin, signal);
    },
    async close() {
      for (const { source } of parts) await source.close();
    },
    ...(openSibling && { openSibling }),
  };
}
