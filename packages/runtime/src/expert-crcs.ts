/** What experts are held against when they have landed: checksums of our records, or beside a file of llama.cpp's. */
import { assert } from "@flashwick/core";
import { expertCrc, type ModelFile } from "@flashwick/flash-format";
import type { ExpertCrc } from "./expert-slots.js";

/** @throws {IntegrityError} `INTEGRITY_TENSOR` where the checksums themselves are damaged. */
export async function readExpertCrcs({ header }: ModelFile, layer: number, _signal?: AbortSignal): Promise<ExpertCrc> {
  const tensors = header.experts[layer];
  assert(tensors, "a mixture");
  // A piece of a file of llama.cpp's is one matrix.
  return (expert, piece) => expertCrc(header, tensors.matrices[piece]!, expert);
}
