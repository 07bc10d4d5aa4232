/** A checkpoint folder, or a GGUF file of llama.cpp's, becomes a model file on disk: the writer of flash-format over an atomic file. */
import { stat } from "node:fs/promises";
import type { OnProgress } from "@flashwick/core";
import { createModelWriter } from "@flashwick/flash-format";
import {
  type ConversionResult,
  type ConvertOptions,
  type CreateWriter,
  convertCheckpoint,
  convertGguf,
} from "@flashwick/flash-format/convert";
import { identifyFile, openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink, fileSource } from "@flashwick/flash-format/node";

export interface FileConversionOptions
  extends Pick<
    ConvertOptions,
    "dtype" | "residentDtype" | "gateDtype" | "layout" | "stride" | "placement" | "prune" | "calibration"
  > {
  /** Replace an existing file. */
  readonly force?: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/**
 * Converts the checkpoint in the folder `from`, or the GGUF file `from`, to the file `output`. Nothing stands under that name before all is well; after a
 * failure nothing is left; after an abort or a crash, the next call goes on from what was written, in `partialPath(output)`.
 *
 * @throws {FormatError} `CHECKPOINT_…`, of a GGUF file `FORMAT_…` too. {IoError} `IO_EXISTS` without `force`. {UnsupportedError} naming the feature.
 */
export async function convertToFile(
  from: string,
  output: string,
  { force = false, ...options }: FileConversionOptions,
): Promise<ConversionResult> {
  const createWriter: CreateWriter = async (spec, sourceIdentity) => {
    const sink = await fileSink(output, { force });
    try {
      return await createModelWriter(sink, spec, { journal: sink.journal, sourceIdentity });
    } catch (error) {
      await sink.abandon();
      throw error;
    }
  };
  if (!(await isFile(from))) return await convertCheckpoint(await openCheckpointFolder(from), createWriter, options);
  const source = await fileSource(from);
  try {
    return await convertGguf(source, await identifyFile(from), createWriter, options);
  } finally {
    await source.close();
  }
}

/** False for what is not there, too. */
export async function isFile(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
