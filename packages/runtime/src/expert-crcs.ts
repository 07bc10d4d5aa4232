/** What experts are held against when they have landed: checksums of our records, or beside a file of llama.cpp's. */
import { assert } from "@flashwick/core";
import { expertCrc, type ModelFile, readExpertChecksums } from "@flashwick/flash-format";
import type { ExpertCrc } from "./expert-slots.js";

/** @throws {IntegrityError} `INTEGRITY_TENSOR` where the checksums themselves are damaged. */
export async function readExpertCrcs(file: ModelFile, layer: number, signal?: AbortSignal): Promise<ExpertCrc> {
  const tensors = file.header.experts[layer];
  assert(tensors, "a mixture");
  if (tensors.recordChecks) {
    const ofRecords = await readExpertChecksums(file, layer, signal);
    return (expert) => ofRecords[expert]!;
  }
  // A piece of a file of llama.cpp's is one matrix.
  return (expert, piece) => expertCrc(file.header, tensors.matrices[piece]!, expert);
}
