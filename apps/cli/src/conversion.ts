/** A checkpoint folder becomes a model file on disk: the writer of flash-format over an atomic file. */
import type { OnProgress } from "@flashwick/core";
import { createModelWriter } from "@flashwick/flash-format";
import { type ConversionResult, type ConvertOptions, convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";

export interface FileConversionOptions extends Pick<ConvertOptions, "dtype" | "layout" | "stride" | "placement"> {
  /** Replace an existing file. */
  readonly force?: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/**
 * Converts the checkpoint in `folder` to the file `output`. Nothing stands under that name before all is well; after a failure
 * nothing is left; after an abort or a crash, the next call goes on from what was written, in `partialPath(output)`.
 *
 * @throws {FormatError} `CHECKPOINT_…`. {IoError} `IO_EXISTS` without `force`. {UnsupportedError} naming the feature.
 */
export async function convertToFile(
  folder: string,
  output: string,
  { force = false, ...options }: FileConversionOptions,
): Promise<ConversionResult> {
  return await convertCheckpoint(
    await openCheckpointFolder(folder),
    async (spec, sourceIdentity) => {
      const sink = await fileSink(output, { force });
      try {
        return await createModelWriter(sink, spec, { journal: sink.journal, sourceIdentity });
      } catch (error) {
        await sink.abandon();
        throw error;
      }
    },
    options,
  );
}
