/** Checkpoints and files of the engine's tests, as model files in memory. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RecordDType } from "@flashwick/core";
import { createModelWriter, memorySink } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";

/** This code runs from its folder, or from a bundle in another one below the root. */
const FIXTURES = join(findRoot(dirname(fileURLToPath(import.meta.url))), "packages/runtime/fixtures");

function findRoot(folder: string): string {
  return existsSync(join(folder, "pnpm-workspace.yaml")) ? folder : findRoot(dirname(folder));
}

/** A GGUF file of llama.cpp's. */
export function ggufBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(FIXTURES, `gguf/${name}.gguf`)));
}

/** A checkpoint as a file of ours. */
export async function modelBytes(
  name: string,
  dtype: RecordDType,
  layout: "bundled" | "split" | "columns",
): Promise<Uint8Array> {
  const folder = await openCheckpointFolder(join(FIXTURES, name));
  const sink = memorySink(name);
  await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), { dtype, layout });
  return sink.committed!;
}
