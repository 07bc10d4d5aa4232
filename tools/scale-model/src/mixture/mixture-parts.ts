/** What a tensor of the target is made of: rows of the source's tensors, copied, or one number again and again. */
import type { Expansion } from "../expansion.js";

/** ggml's names of types are the same in capitals. */
export type MixtureDType = "f32" | "q4_0" | "q8_0";

/** Rows that follow those of the part before. */
export interface ExpandedPart {
  /** Name of a source tensor, and its columns. */
  readonly source: string;
  readonly sourceCols: number;
  readonly expansion: Expansion;
  /**
   * Changes an expanded row, for what no copy gives.
   *
   * @param row Of this part. Rows that expand the same source row by the same factor must be changed alike.
   */
  readonly mark?: (row: number, values: Float32Array) => void;
}

export interface ConstantPart {
  readonly constant: number;
  readonly count: number;
}

export type TensorPart = ExpandedPart | ConstantPart;

export interface MixtureTensor {
  readonly name: string;
  readonly dtype: MixtureDType;
  /** Innermost first, as in GGUF. */
  readonly shape: readonly number[];
  /** Source layer whose tensors it is made of; null outside of layers. */
  readonly sourceLayer: number | null;
  /** Made when the tensor is written, and not before: a thousand expansions of a large model would be as many megabytes. */
  readonly parts: () => Iterable<TensorPart>;
}

export function isConstant(part: TensorPart): part is ConstantPart {
  return "constant" in part;
}
