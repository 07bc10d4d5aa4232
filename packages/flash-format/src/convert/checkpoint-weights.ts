/**
 * The weights of a checkpoint, in one file or in shards with an index, as one directory of tensors. Nothing of the elements
 * is read. Only files directly in the folder are opened, whatever an index says.
 */
import { type ByteSource, FormatError } from "@flashwick/core";
import * as v from "valibot";
import { readDocument } from "./checkpoint-document.js";
import type { CheckpointFolder } from "./checkpoint-folder.js";
import type { CheckpointTensor } from "./checkpoint-tensor.js";
import { readSafetensors } from "./safetensors.js";
import { readTorchFile } from "./torch-file.js";

export interface CheckpointWeights {
  /** The weights file or the index: where a missing tensor should have been. */
  readonly fileName: string;
  /** The weights files, one or all shards. */
  readonly shardNames: readonly string[];
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** What it means if a tensor is missing or of another shape. */
  readonly mismatch: string;
  /** Closes every file. */
  close(): Promise<void>;
}

type DirectoryReader = (source: ByteSource, signal?: AbortSignal) => Promise<ReadonlyMap<string, CheckpointTensor>>;

/** The forms that are looked for, in this order (as transformers does). */
const FORMS: readonly { readonly fileName: string; readonly sharded: boolean; readonly read: DirectoryReader }[] = [
  { fileName: "model.safetensors", sharded: false, read: readSafetensors },
  { fileName: "model.safetensors.index.json", sharded: true, read: readSafetensors },
  { fileName: "pytorch_model.bin", sharded: false, read: readTorchFile },
  { fileName: "pytorch_model.bin.index.json", sharded: true, read: readTorchFile },
];

/** The largest checkpoints on the hub have under 1000. */
const MAX_SHARDS = 10_000;

const shardIndex = v.object({ weight_map: v.record(v.string(), v.string()) });

/**
 * Opens the weights of a checkpoint and reads their directories.
 *
 * @throws {FormatError} `CHECKPOINT_NOT_FOUND` if there are none, `CHECKPOINT_SHARD_MISSING`, `CHECKPOINT_TENSOR_MISSING` if a
 * shard lacks what the index promises, `CHECKPOINT_FILE`, `CHECKPOINT_PICKLE`. {UnsupportedError} `UNSUPPORTED_FEATURE`.
 */
export async function openCheckpointWeights(
  folder: CheckpointFolder,
  signal?: AbortSignal,
): Promise<CheckpointWeights> {
  const form = FORMS.find(({ fileName }) => folder.fileNames.includes(fileName));
  if (!form) throw noWeightsError(folder);
  const placement = form.sharded ? await readShardIndex(folder, form.fileName, signal) : null;
  const shardNames = placement ? [...new Set(placement.values())].sort() : [form.fileName];
  const sources: ByteSource[] = [];
  const close = async () => {
    for (const source of sources.splice(0)) await source.close();
  };
  try {
    const shards = new Map<string, ReadonlyMap<string, CheckpointTensor>>();
    for (const shardName of shardNames) {
      const source = await folder.open(shardName);
      sources.push(source);
      shards.set(shardName, await form.read(source, signal));
    }
    const tensors = placement ? mergeShards(placement, shards, form.fileName) : shards.get(form.fileName)!;
    const mismatch = "the checkpoint does not match its config.json";
    return { fileName: form.fileName, shardNames, tensors, mismatch, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Tensor name -> shard, every shard being a file of the folder. */
async function readShardIndex(
  folder: CheckpointFolder,
  indexName: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const index = await readDocument(shardIndex, folder, indexName, "CHECKPOINT_FILE", signal);
  const placement = new Map(Object.entries(index.weight_map));
  const shardNames = [...new Set(placement.values())].sort();
  for (const shardName of shardNames) checkShardName(folder, indexName, shardName, shardNames.length);
  if (shardNames.length > MAX_SHARDS) {
    throw new FormatError(
      "CHECKPOINT_FILE",
      `${indexName}: expected at most ${MAX_SHARDS} shards, found ${shardNames.length}`,
    );
  }
  return placement;
}

function checkShardName(folder: CheckpointFolder, indexName: string, shardName: string, shards: number): void {
  const details = { file: indexName, shard: shardName };
  if (/[\\/\0]/.test(shardName) || shardName === "" || shardName === "." || shardName === "..") {
    throw new FormatError(
      "CHECKPOINT_FILE",
      `${indexName}: field weight_map: expected names of files in the folder, found ${JSON.stringify(shardName)}, which may lie outside of it`,
      { details },
    );
  }
  if (folder.fileNames.includes(shardName)) return;
  throw new FormatError(
    "CHECKPOINT_SHARD_MISSING",
    `${folder.name}: shard ${shardName}, one of ${shards} that ${indexName} names, is missing; fetch it`,
    { details: { ...details, folder: folder.name } },
  );
}

function mergeShards(
  placement: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, ReadonlyMap<string, CheckpointTensor>>,
  indexName: string,
): ReadonlyMap<string, CheckpointTensor> {
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, shardName] of placement) {
    const tensor = shards.get(shardName)?.get(name);
    if (!tensor) {
      throw new FormatError(
        "CHECKPOINT_TENSOR_MISSING",
        `${shardName}: expected tensor ${name}, which ${indexName} places there; fetch the shard again`,
        { details: { file: shardName, tensor: name, index: indexName } },
      );
    }
    tensors.set(name, tensor);
  }
  return tensors;
}

function noWeightsError(folder: CheckpointFolder): FormatError {
  const expected = FORMS.map(({ fileName }) => fileName);
  return new FormatError(
    "CHECKPOINT_NOT_FOUND",
    `${folder.name}: expected weights as ${expected.join(", ")}; found none of these`,
    { details: { folder: folder.name, expected } },
  );
}
