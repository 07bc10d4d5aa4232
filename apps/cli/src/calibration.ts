/** The moments that `flashwick convert --calibration` makes up for losses by. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { openMomentsFile } from "@flashwick/flash-format";
import type { Calibration } from "@flashwick/flash-format/convert";
import { fileSource } from "@flashwick/flash-format/node";

/**
 * @param path Null: there are none.
 * @throws {FormatError} for what is no file of moments. {IntegrityError} `INTEGRITY_HEADER` for a damaged one. {IoError}.
 */
export async function withCalibration<T>(
  path: string | null,
  convert: (calibration: Calibration | null) => Promise<T>,
): Promise<T> {
  if (path === null) return await convert(null);
  const source = await fileSource(path);
  try {
    const moments = await openMomentsFile(source);
    return await convert({ moments, hash: await hashOf(path) });
  } finally {
    await source.close();
  }
}

/** SHA-256, hex, of a file. */
async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const bytes of createReadStream(path)) hash.update(bytes as Uint8Array);
  return hash.digest("hex");
}
