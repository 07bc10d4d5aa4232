/** Tensors of a file by name, whichever of the two common forms it has: safetensors, or PyTorch's. */
import { type ByteSource, FormatError, rowBytes } from "@flashwick/core";
import { assertReadable, elementCount } from "./checkpoint-tensor.js";
import { readSafetensors } from "./safetensors.js";
import { decodeElements } from "./source-elements.js";
import { readTorchFile } from "./torch-file.js";

/** A file of tensors by name: safetensors, or what torch.save has written. */
export interface TensorFile {
  /** Names with their shapes, outermost dimension first. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** All elements of a tensor as f32, row-major. @throws {FormatError} `CHECKPOINT_TENSOR_MISSING`. {UnsupportedError} for other element types. */
  read(name: string, signal?: AbortSignal): Promise<Float32Array>;
}

/** More is no predictor matrix: OPT 175B's largest has 12288 · 4 · 2048. */
const MAX_ELEMENTS = 2 ** 28;

/**
 * @param source Closed by the caller.
 * @throws {FormatError} `CHECKPOINT_FILE`, `CHECKPOINT_PICKLE`. {UnsupportedError} `UNSUPPORTED_FEATURE`.
 * Cost: the directory is read; tensors when they are asked for.
 */
export async function readTensorFile(source: ByteSource, signal?: AbortSignal): Promise<TensorFile> {
  const isTorch = /\.(pt|pth|bin)$/i.test(source.name);
  const tensors = isTorch ? await readTorchFile(source, signal) : await readSafetensors(source, signal);
  return {
    shapes: new Map(Array.from(tensors, ([name, { shape }]) => [name, shape])),
    async read(name, readSignal) {
      const tensor = tensors.get(name);
      if (!tensor) {
        const message = `${source.name}: expected tensor ${name}, found ${[...tensors.keys()].slice(0, 8).join(", ")}`;
        throw new FormatError("CHECKPOINT_TENSOR_MISSING", message, { details: { file: source.name, tensor: name } });
      }
      assertReadable(tensor);
      const count = elementCount(tensor.shape);
      if (count > MAX_ELEMENTS) {
        const message = `${source.name}: tensor ${name}: expected at most ${MAX_ELEMENTS} elements, found ${count}`;
        throw new FormatError("CHECKPOINT_TENSOR_SHAPE", message, { details: { file: source.name, tensor: name } });
      }
      const raw = new Uint8Array(rowBytes(tensor.dtype, count));
      await source.read(raw, tensor.offset, readSignal);
      const values = new Float32Array(count);
      decodeElements(tensor.dtype, raw, values);
      return values;
    },
  };
}
