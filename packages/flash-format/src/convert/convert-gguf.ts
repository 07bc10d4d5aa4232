/**
 * A GGUF file becomes a model file. Of llama.cpp's: its matrices, whatever their types, are cut into one record a neuron; of a mixture the three slices of
 * an expert come together in one record, as they are. A model file of ours, whose records are plain numbers, becomes another one.
 */
import { type ByteSource, type DType, InputError, isBlockDType, isRecordDType } from "@flashwick/core";
import { readTensors, withChecksumsBeside } from "../checksum-file.js";
import type { GgufValue } from "../gguf.js";
import { carriesChecksums, type ModelFile, type ModelHeader, type ResidentTensor } from "../model-file.js";
import { recordsName } from "../model-layout.js";
import type { TensorShape } from "../model-writer.js";
import { openModelFile } from "../read-model.js";
import { isVectorName } from "../resident-tensors.js";
import { damagedTensor } from "../tensor-checks.js";
import { verifyModelFile } from "../verify.js";
import type { CheckpointTensor, SourceDType } from "./checkpoint-tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import { type ConversionSource, type ConvertOptions, type CreateWriter, convertWeights } from "./conversion.js";
import type { ConversionResult } from "./conversion-result.js";
import { baseName } from "./convert-checkpoint.js";
import type { ExpertForm, WeightNames, WeightSource } from "./families/family.js";
import { matricesOfRecords } from "./record-matrices.js";

/**
 * Converts a GGUF file. What it computes stays as it is: rows of queries and keys keep their order, and the composition says how they are turned. Tokenizer and
 * chat template travel as they are stored, so the same text gives the same tokens.
 *
 * @param source   Of a split model the first file. Closed by the caller.
 * @param identity Changes whenever the file's bytes may have: its size and time, say.
 * @throws {InputError} `INPUT_INVALID` for a model file of ours that has lost something already: by rounding to integers, or neurons, or their order. {FormatError} `FORMAT_*` as `openModelFile`; `CHECKPOINT_TENSOR_VALUE` for weights that
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
  const isOurs = carriesChecksums(header);
  if (isOurs) requireUnchanged(header, source.name);
  if (isOurs || header.checksums) await requireWhole(file, options.signal);
  const { geometry, fingerprint } = header;
  const { dtype } = header.weights;
  const from = {
    geometry,
    names: ggufNames(header),
    weights: ggufWeights(file),
    identity: JSON.stringify([identity, fingerprint]),
    dtype: isRecordDType(dtype) ? dtype : null,
    ...keptExperts(header),
    fingerprint: isOurs ? fingerprint : null,
    labels: {
      ...tokenizerOf(header),
      name: modelName(header, source.name),
    },
  };
  return await convertWeights(from, createWriter, options);
}

/** @throws {InputError} `INPUT_INVALID` for a model file of ours whose weights are not those of its checkpoint. */
function requireUnchanged({ records, columns, placement, weights, tensors }: ModelHeader, fileName: string): void {
  const dtypes = [weights.dtype, ...Array.from(tensors.values(), ({ dtype }) => dtype)];
  const rounded = dtypes.find((dtype) => !["f32", "f16", "bf16"].includes(dtype));
  if (records.length > 0 && placement === null && rounded === undefined) return;
  const others = columns.length > 0 ? "records of columns" : "records of experts";
  const found = placement ? "neurons in an order of its own" : (rounded ?? others);
  throw new InputError(
    "INPUT_INVALID",
    `${fileName}: a model file of flashwick's with ${found}, expected a GGUF file of llama.cpp, or all neurons in f32, f16 or bf16; convert the checkpoint that it was made from`,
    { details: { file: fileName } },
  );
}

/** Tensors have the names of model files already. */
function ggufNames(header: ModelHeader): WeightNames {
  const { dModel, layers } = header.geometry;
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
    expertForms: (layer) => [stackedMatrices(header, layer)],
  };
}

function shapeOf({ name, rows, cols }: TensorShape): number[] {
  return isVectorName(name) ? [cols] : [rows, cols];
}

/** @throws {IntegrityError} `INTEGRITY_TENSOR` where a tensor does not match its checksums. */
async function requireWhole(file: ModelFile, signal?: AbortSignal): Promise<void> {
  const { bad } = await verifyModelFile(file, signal ? { signal } : {});
  if (bad[0]) throw damagedTensor(file.source, bad[0].tensor ?? recordsName(bad[0].layer!), bad[0].offset);
}

/** Experts stay of the types that they are; matrices beside blocks are Q8_0. */
function keptExperts({ experts, weights: { dtype } }: ModelHeader): Partial<ConversionSource> {
  if (experts.length === 0) return {};
  const expertDTypes = experts.map((layer): DType[] => layer?.matrices.map((matrix) => matrix.dtype) ?? []);
  return { expertDTypes, residentDtype: isBlockDType(dtype) ? "q8_0" : null };
}

/** The matrices of all experts of a layer, in a tensor each. */
function stackedMatrices({ experts }: ModelHeader, layer: number): ExpertForm {
  const { count, matrices } = experts[layer]!;
  return (expert) =>
    matrices.map(({ role, tensor, rows, cols }) => ({
      source: { names: [tensor], shape: [count, rows, cols] },
      ...{ expert, roles: [role], transposed: false, scales: null },
    }));
}

function ggufWeights({ header, source }: ModelFile): CheckpointWeights {
  const residents = readTensors(header).map((tensor) => stored(tensor, shapeOf(tensor), source));
  const experts = header.experts.flatMap((layer) => {
    return (layer?.matrices ?? []).map(({ tensor: name, rows, cols, ...matrix }) => {
      return stored({ ...matrix, name }, [layer!.count, rows, cols], source);
    });
  });
  const records = header.records.flatMap(({ layer }) => matricesOfRecords({ header, source }, layer));
  return {
    fileName: source.name,
    shardNames: (source.parts ?? [source]).map(({ name }) => name),
    tensors: new Map([...residents, ...experts, ...records].map((tensor) => [tensor.name, tensor])),
    mismatch: "fetch the file again, or another one",
    close: async () => {},
  };
}

function stored(
  { name, offset, dtype }: Pick<ResidentTensor, "name" | "offset" | "dtype">,
  shape: readonly number[],
  source: ByteSource,
): CheckpointTensor {
  // llama.cpp has no int8 with a scale a row.
  return {
    name,
    source,
    offset,
    shape,
    dtype: dtype as SourceDType,
    storedDType: dtype,
    contiguous: true,
  };
}

function tokenizerOf(
  header: ModelHeader,
): Pick<ConversionSource["labels"], "tokenizerJson" | "tokenizerKind" | "tokenizerMetadata"> {
  const { tokenizerJson, tokenizerKind } = header;
  if (carriesChecksums(header) && tokenizerKind !== "ggml") return { tokenizerJson, tokenizerKind };
  return { tokenizerJson: null, tokenizerKind: null, tokenizerMetadata: tokenizerMetadata(header) };
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
