/** A GGUF file of llama.cpp's becomes a model file: its matrices, whatever their types, are cut into one record a neuron. */
import { type ByteSource, InputError, isRecordDType, UnsupportedError } from "@flashwick/core";
import { readTensors, withChecksumsBeside } from "../checksum-file.js";
import type { GgufValue } from "../gguf.js";
import { carriesChecksums, type ModelFile, type ModelHeader, type ResidentTensor } from "../model-file.js";
import type { TensorShape } from "../model-writer.js";
import { openModelFile } from "../read-model.js";
import { isVectorName } from "../resident-tensors.js";
import { damagedTensor } from "../tensor-checks.js";
import { verifyModelFile } from "../verify.js";
import type { CheckpointTensor, SourceDType } from "./checkpoint-tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import { type ConvertOptions, type CreateWriter, convertWeights } from "./conversion.js";
import type { WeightNames } from "./conversion-plan.js";
import type { ConversionResult } from "./conversion-result.js";
import { baseName } from "./convert-checkpoint.js";
import type { WeightSource } from "./families/family.js";

/**
 * Converts a GGUF file. What it computes stays as it is: rows of queries and keys keep their order, and the composition says how they are turned. Tokenizer and
 * chat template travel as they are stored, so the same text gives the same tokens.
 *
 * @param source   Of a split model the first file. Closed by the caller.
 * @param identity Changes whenever the file's bytes may have: its size and time, say.
 * @throws {InputError} `INPUT_INVALID` for a model file of ours. {FormatError} `FORMAT_*` as `openModelFile`; `CHECKPOINT_TENSOR_VALUE` for weights that
 * are not finite. {IntegrityError} `INTEGRITY_TENSOR` where checksums lie beside the file and do not match, before anything is written. {UnsupportedError} naming the feature. Whatever the writer throws. The signal's reason when aborted.
 * Cost: as `convertCheckpoint`; blocks are read at some 30 million weights a second.
 */
export async function convertGguf(
  source: ByteSource,
  identity: string,
  createWriter: CreateWriter,
  options: ConvertOptions = {},
): Promise<ConversionResult> {
  options.signal?.throwIfAborted();
  const file = await withChecksumsBeside(await openModelFile(source));
  const { header } = file;
  if (carriesChecksums(header)) throw notLlamaCpp(source.name);
  if (header.weights.layout !== "matrices") throw hasExperts(source.name);
  if (header.checksums) await requireWhole(file, options.signal);
  const { geometry, fingerprint } = header;
  const { dtype } = header.weights;
  const from = {
    geometry,
    names: ggufNames(header),
    weights: ggufWeights(file),
    identity: JSON.stringify([identity, fingerprint]),
    dtype: isRecordDType(dtype) ? dtype : null,
    labels: {
      tokenizerJson: null,
      tokenizerKind: null,
      tokenizerMetadata: tokenizerMetadata(header),
      name: modelName(header, source.name),
    },
  };
  return await convertWeights(from, createWriter, options);
}

function notLlamaCpp(fileName: string): InputError {
  return new InputError(
    "INPUT_INVALID",
    `${fileName}: expected a GGUF file of llama.cpp, found a model file of flashwick's, which has records already; convert the checkpoint that it was made from`,
    { details: { file: fileName } },
  );
}

function hasExperts(fileName: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${fileName}: a mixture of experts has no single neurons to make records of; it runs as it lies, and its experts are read one by one`,
    { details: { file: fileName } },
  );
}

/** Tensors have the names of model files already. */
function ggufNames({ geometry: { dModel, layers } }: ModelHeader): WeightNames {
  const matrix = (layer: number, role: string, ...shape: number[]): WeightSource => {
    return { names: [`blk.${layer}.${role}.weight`], shape };
  };
  return {
    resident: (tensor) => ({ names: [tensor.name], shape: shapeOf(tensor) }),
    ffn(layer) {
      const { dFf, gated } = layers[layer]!.ffn;
      return {
        gate: gated ? matrix(layer, "ffn_gate", dFf, dModel) : null,
        up: matrix(layer, "ffn_up", dFf, dModel),
        down: matrix(layer, "ffn_down", dModel, dFf),
      };
    },
  };
}

function shapeOf({ name, rows, cols }: TensorShape): number[] {
  return isVectorName(name) ? [cols] : [rows, cols];
}

/** @throws {IntegrityError} `INTEGRITY_TENSOR` where a tensor does not match the checksums beside the file. */
async function requireWhole(file: ModelFile, signal?: AbortSignal): Promise<void> {
  const { bad } = await verifyModelFile(file, signal ? { signal } : {});
  if (bad[0]) throw damagedTensor(file.source, bad[0].tensor!, bad[0].offset);
}

function ggufWeights({ header, source }: ModelFile): CheckpointWeights {
  return {
    fileName: source.name,
    shardNames: (source.parts ?? [source]).map(({ name }) => name),
    tensors: new Map(readTensors(header).map((tensor) => [tensor.name, stored(tensor, source)])),
    mismatch: "fetch the file again, or another one",
    close: async () => {},
  };
}

function stored(tensor: ResidentTensor, source: ByteSource): CheckpointTensor {
  const { name, offset, dtype } = tensor;
  // llama.cpp has no int8 with a scale a row.
  return {
    name,
    source,
    offset,
    shape: shapeOf(tensor),
    dtype: dtype as SourceDType,
    storedDType: dtype,
    contiguous: true,
  };
}

/** Vocabulary, special tokens and chat templates. Not a document of ours, which no file of llama.cpp's has by right. */
function tokenizerMetadata({ values }: ModelHeader): ReadonlyMap<string, GgufValue> {
  const keys = [...values].filter(([key]) => key.startsWith("tokenizer.") && key !== "tokenizer.huggingface.json");
  return new Map(keys);
}

function modelName({ values }: ModelHeader, path: string): string {
  const name = values.get("general.name");
  return name?.type === "string" && name.value !== "" ? name.value : baseName(path).replace(/\.gguf$/i, "");
}
