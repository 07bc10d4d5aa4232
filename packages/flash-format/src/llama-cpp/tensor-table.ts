/**
 * The tensors of a model of llama.cpp's, in one file or several, asked by name.
 *
 * Invariant: what it hands out has the shape that was asked for, a type that kernels have, and lies inside its file.
 */
import { FormatError, UnsupportedError } from "@flashwick/core";
import { MAX_VOCAB, MAX_WIDTH } from "../geometry-limits.js";
import { DTYPE_OF_GGML_TYPE, GGUF_DEFAULT_ALIGNMENT, type GgufTensor, ggufTensorBytes } from "../gguf.js";
import type { ExpertMatrix, ResidentTensor } from "../model-file.js";
import type { TensorShape } from "../model-writer.js";
import { roundUp } from "../record-layout.js";
import { isExpertBias, isVectorName } from "../resident-tensors.js";
import type { ModelPart } from "./split-files.js";
import type { TensorPlace } from "./tensor-places.js";

/** Of `general.alignment`; files have 32 to 4096. */
const MAX_ALIGNMENT = 2 ** 20;

/** A tensor, and the file that it is in. */
interface PlacedTensor {
  readonly tensor: GgufTensor;
  readonly part: ModelPart;
  /** Of the file's tensors, in the file. */
  readonly dataOffset: number;
}

export class TensorTable {
  readonly #byName = new Map<string, PlacedTensor>();
  /** Of the first file. */
  readonly dataOffset: number;
  /** Of the first file, for messages. */
  readonly fileName: string;
  readonly #files: number;

  constructor(parts: readonly ModelPart[]) {
    this.#files = parts.length;
    for (const part of parts) {
      const dataOffset = dataOffsetOf(part);
      for (const tensor of part.decoded.tensors) this.#byName.set(tensor.name, { tensor, part, dataOffset });
    }
    this.dataOffset = dataOffsetOf(parts[0]!);
    this.fileName = parts[0]!.metadata.fileName;
  }

  /** Rows of the token embedding. */
  get vocabSize(): number {
    const { shape } = this.#find("token_embd.weight").tensor;
    const rows = shape[1] ?? 0;
    if (shape.length === 2 && rows >= 1 && rows <= MAX_VOCAB) return rows;
    throw this.invalid("token_embd.weight", `a row for each of at most ${MAX_VOCAB} tokens`, `[${shape.join(", ")}]`);
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  /** Elements of a vector; null if there is no such tensor. */
  lengthOf(name: string): number | null {
    const shape = this.#byName.get(name)?.tensor.shape;
    if (shape === undefined) return null;
    if (shape.length === 1 && shape[0]! >= 1 && shape[0]! <= MAX_WIDTH) return shape[0]!;
    throw this.invalid(name, "a vector", `[${shape.join(", ")}]`);
  }

  /**
   * @param wanted The tensor under its name of ours.
   * @param place  Where the file has it, if not whole and under that name.
   * @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`, `FORMAT_TRUNCATED`. {UnsupportedError} `UNSUPPORTED_FEATURE` for its type.
   */
  require(wanted: TensorShape, place: TensorPlace | null = null): ResidentTensor {
    const { rows, cols } = wanted;
    const isVector = isVectorName(wanted.name) || wanted.name === "rope_freqs.weight";
    const count = isVector ? cols : rows;
    const { name, first, total } = place ?? { name: wanted.name, first: 0, total: count };
    const isF32 = isVector || isExpertBias(wanted.name);
    const { dtype, offset, sizeBytes } = this.#locate(name, isVector ? [total] : [cols, total], isF32);
    const eachBytes = sizeBytes / total;
    const range = { offset: offset + first * eachBytes, sizeBytes: count * eachBytes };
    return Object.freeze({ ...wanted, ...range, dtype, crc32c: null, scales: null });
  }

  /**
   * One matrix of every expert of a layer, `[cols, rows, count]` in the file.
   *
   * @param wanted The tensor's name, and the shape of one expert's.
   * @throws As {@link require}.
   */
  requireExperts({ name, rows, cols }: TensorShape, count: number): Omit<ExpertMatrix, "role"> {
    const { dtype, offset, sizeBytes: allBytes } = this.#locate(name, [cols, rows, count], false);
    const sizeBytes = allBytes / count;
    return { tensor: name, dtype, rows, cols, sizeBytes, offset, strideBytes: sizeBytes };
  }

  /** Where a whole tensor lies: its offset is absolute, and among those of all files. */
  #locate(name: string, expected: readonly number[], isF32: boolean) {
    const { tensor, part, dataOffset } = this.#find(name);
    if (tensor.shape.join() !== expected.join()) {
      throw this.invalid(name, `shape [${expected.join(", ")}]`, `[${tensor.shape.join(", ")}]`);
    }
    const dtype = typeof tensor.type === "number" ? undefined : DTYPE_OF_GGML_TYPE[tensor.type];
    if (dtype === undefined || (isF32 && dtype !== "f32")) throw this.#unsupported(tensor, isF32);
    const sizeBytes = ggufTensorBytes(tensor);
    if (sizeBytes === null) throw this.invalid(name, `rows of whole ${tensor.type} blocks`, `${expected[0]} columns`);
    const offset = dataOffset + tensor.offset;
    if (offset + sizeBytes > part.sizeBytes) throw beyondEnd(part, name, offset, sizeBytes);
    return { dtype, offset: part.begin + offset, sizeBytes };
  }

  invalid(name: string, expected: string, found: string): FormatError {
    return new FormatError(
      "FORMAT_INVALID",
      `${this.#byName.get(name)?.part.metadata.fileName ?? this.fileName}: tensor "${name}": expected ${expected}, found ${found}; fetch the file again, or another one`,
      { details: { tensor: name, expected, found } },
    );
  }

  #find(name: string): PlacedTensor {
    const placed = this.#byName.get(name);
    if (placed) return placed;
    throw new FormatError(
      "FORMAT_MISSING",
      `${this.fileName}: tensor "${name}" is missing${this.#files > 1 ? ` from all ${this.#files} files` : ""}; fetch the model again, or another one`,
      { details: { tensor: name } },
    );
  }

  #unsupported({ name, type }: GgufTensor, isF32: boolean): UnsupportedError {
    const known = isF32 ? "F32" : Object.keys(DTYPE_OF_GGML_TYPE).join(", ");
    return new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${this.fileName}: tensor "${name}" is of type ${type}, expected ${known}; fetch the model in one of these`,
      { details: { tensor: name, type } },
    );
  }
}

function dataOffsetOf({ decoded, metadata }: ModelPart): number {
  const alignment = metadata.optionalInteger("general.alignment", 1, MAX_ALIGNMENT) ?? GGUF_DEFAULT_ALIGNMENT;
  return roundUp(decoded.headerBytes, alignment);
}

function beyondEnd({ metadata, sizeBytes: fileBytes }: ModelPart, name: string, offset: number, sizeBytes: number) {
  return new FormatError(
    "FORMAT_TRUNCATED",
    `${metadata.fileName} @ ${offset}: tensor "${name}" has ${sizeBytes} bytes, but the file ends at ${fileBytes}; fetch it again`,
    { details: { tensor: name, offset, sizeBytes, fileBytes } },
  );
}
