/** A tensor in a checkpoint file: where its elements are, found without reading them. */
import { assert, type BlockDType, type ByteSource, UnsupportedError } from "@flashwick/core";

/** Types that conversion reads; all are little-endian. Blocks stand in GGUF files alone. */
export type SourceDType = "f32" | "f16" | "bf16" | BlockDType;

export interface CheckpointTensor {
  readonly name: string;
  readonly source: ByteSource;
  /** Absolute file offset of the first element. */
  readonly offset: number;
  /** Outermost dimension first. */
  readonly shape: readonly number[];
  /** Null for a type that conversion does not read; `storedDType` then names it. */
  readonly dtype: SourceDType | null;
  /** The element type in the file's own words: `F16`, `torch.HalfStorage`. */
  readonly storedDType: string;
  /** Elements lie in row-major order without gaps. */
  readonly contiguous: boolean;
}

/** A tensor whose elements can be streamed. */
export type ReadableTensor = CheckpointTensor & { readonly dtype: SourceDType };

/** `[512, 64]` */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** Number of elements of `shape`; not a safe integer if the file is absurd, so callers check. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Narrows to a tensor that can be streamed. @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for other element types and for strided tensors. */
export function assertReadable(tensor: CheckpointTensor): asserts tensor is ReadableTensor {
  const where = `${tensor.source.name}: tensor ${tensor.name}`;
  const details = { file: tensor.source.name, tensor: tensor.name, dtype: tensor.storedDType };
  if (tensor.dtype === null) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${where}: expected float32, float16 or bfloat16 elements, found ${tensor.storedDType}; convert a checkpoint that is not quantized`,
      { details },
    );
  }
  if (!tensor.contiguous) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${where}: expected contiguous elements, found a transposed or strided view; call .contiguous() before saving`,
      { details },
    );
  }
  assert(tensor.offset >= 0, "tensor offsets are checked when the file is opened");
}
