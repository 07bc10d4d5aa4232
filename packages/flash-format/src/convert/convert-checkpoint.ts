/** A Hugging Face checkpoint folder becomes a model file. */

import { expertDTypesOf } from "../expert-record.js";
import { readCheckpointConfig } from "./checkpoint-config.js";
import type { CheckpointFolder } from "./checkpoint-folder.js";
import { type CheckpointWeights, openCheckpointWeights } from "./checkpoint-weights.js";
import { type ConvertOptions, type CreateWriter, convertWeights } from "./conversion.js";
import type { ConversionResult } from "./conversion-result.js";
import { familyNames } from "./families/family.js";
import { readTokenizerDocument } from "./tokenizer-document.js";

/**
 * Converts a checkpoint.
 *
 * @throws {FormatError} `CHECKPOINT_*`, naming the file and the tensor or field. {UnsupportedError} `UNSUPPORTED_*`, naming the
 * feature. Whatever the writer throws. The signal's reason when aborted.
 * Cost: reads the checkpoint once; peak memory is the largest down projection as stored (with a placement: of the FFN; with a calibration: of the FFN in f32 and 8 · dFf² bytes; of gpt-oss: one expert's gate and up
 * projections) plus about 100 MiB.
 */
export async function convertCheckpoint(
  folder: CheckpointFolder,
  createWriter: CreateWriter,
  options: ConvertOptions = {},
): Promise<ConversionResult> {
  const { signal } = options;
  signal?.throwIfAborted();
  const { family, geometry, dtype, expertDType } = await readCheckpointConfig(folder, signal);
  const tokenizer = await readTokenizerDocument(folder, signal);
  const weights = await openCheckpointWeights(folder, signal);
  try {
    const labels = {
      tokenizerJson: tokenizer?.json ?? null,
      tokenizerKind: tokenizer?.kind ?? null,
      name: baseName(folder.name),
    };
    const names = familyNames(family, geometry);
    const identity = await identify(folder, weights);
    const expertDTypes = expertDType && expertDTypesOf(geometry, expertDType);
    const source = { geometry, names, weights, identity, dtype, expertDTypes, labels };
    return await convertWeights(source, createWriter, options);
  } finally {
    await weights.close();
  }
}

async function identify(folder: CheckpointFolder, { shardNames, fileName }: CheckpointWeights): Promise<string> {
  const names = [...new Set(["config.json", fileName, ...shardNames])];
  const identities = await Promise.all(names.map((name) => folder.identify(name)));
  return JSON.stringify(names.map((name, i) => [name, identities[i]]));
}

/** The last name of a path. */
export function baseName(path: string): string {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;
}
