/** What a checkpoint folder, or a GGUF file of llama.cpp's, says before a weight is read. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { isRecordDType } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { type CheckpointConfig, readCheckpointConfig } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSource } from "@flashwick/flash-format/node";
import { isFile } from "./conversion.js";

export interface SourceForm extends Pick<CheckpointConfig, "geometry" | "dtype"> {
  /** About as much as a model file carries besides weights: the tokenizer. */
  readonly tokenizerBytes: number;
}

/** Of a checkpoint folder or a GGUF file. @throws As conversion does, for what it cannot read. */
export async function readForm(path: string): Promise<SourceForm> {
  if (!(await isFile(path))) {
    const tokenizer = await stat(join(path, "tokenizer.json")).catch(() => null);
    return {
      ...(await readCheckpointConfig(await openCheckpointFolder(path))),
      tokenizerBytes: tokenizer?.size ?? 0,
    };
  }
  const source = await fileSource(path);
  try {
    const { geometry, weights, dataOffset } = (await openModelFile(source)).header;
    return { geometry, dtype: isRecordDType(weights.dtype) ? weights.dtype : null, tokenizerBytes: dataOffset };
  } finally {
    await source.close();
  }
}
