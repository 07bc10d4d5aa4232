/**
 * The header of a GGUF file of llama.cpp's as that of a model: nothing is converted, and everything is used where it lies. An FFN is three matrices,
 * row by row. There are no checksums, so what is read is believed.
 *
 * Invariant: in what is returned, every tensor that the geometry asks for is there, with its shape and a type that kernels have, inside the file.
 */
import {
  type ByteSource,
  FormatError,
  kvWidth,
  type LayerGeometry,
  type MatrixLayout,
  type ModelGeometry,
  queryWidth,
  UnsupportedError,
} from "@flashwick/core";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { MAX_VOCAB, MAX_WIDTH } from "../geometry-limits.js";
import { DTYPE_OF_GGML_TYPE, GGUF_DEFAULT_ALIGNMENT, type GgufTensor, ggufTensorBytes } from "../gguf.js";
import type { DecodedGgufHeader } from "../gguf-decoder.js";
import { GgufMetadata } from "../gguf-metadata.js";
import type { MatrixTensors, ModelHeader, ResidentTensor } from "../model-file.js";
import { displayMetadata } from "../model-header.js";
import type { TensorShape } from "../model-writer.js";
import { roundUp } from "../record-layout.js";
import { isVectorName, residentTensorsOf } from "../resident-tensors.js";
import { llamaCppGeometry } from "./geometry.js";

/** Stages of so many neurons' bytes begin on whole cache lines. */
const SLOT_UNIT_BYTES = 64;
/** Of `general.alignment`; files have 32 to 4096. */
const MAX_ALIGNMENT = 2 ** 20;

/**
 * @param bytes  The file's beginning, from which `decoded` was decoded.
 * @param source Read for the table of rotary divisors alone, where there is one.
 * @throws As `openModelFile`.
 */
export async function readLlamaCppHeader(
  decoded: DecodedGgufHeader,
  bytes: Uint8Array,
  source: ByteSource,
): Promise<ModelHeader> {
  const metadata = new GgufMetadata(decoded, source.name);
  const tensors = new TensorTable(decoded, metadata, source.sizeBytes);
  const geometry = llamaCppGeometry(metadata, {
    // Asked for only once the architecture is known to be one that runs.
    get vocabSize() {
      return tensors.vocabSize;
    },
    has: (name) => tensors.has(name),
    rotaryFactors: await readRotaryFactors(tensors, source),
  });
  const { dModel, layers } = geometry;
  const matrices = layers.map((layer, index) => matricesOf(tensors, layer, dModel, `blk.${index}.`));
  const inLayers = new Set(matrices.flatMap((layer) => Object.values(layer).map(({ name }) => name)));
  const residents = residentTensorsOf(geometry)
    .filter(({ name }) => !inLayers.has(name))
    .map((shape) => tensors.require(shape));
  return Object.freeze({
    geometry: Object.freeze(geometry),
    weights: Object.freeze(matrixLayout(geometry, matrices)),
    tensors: new Map(residents.map((tensor) => [tensor.name, tensor])),
    records: [],
    matrices: Object.freeze(matrices),
    placement: null,
    fingerprint: bytesToHex(sha256(bytes.subarray(0, decoded.headerBytes))),
    tokenizerJson: null,
    tokenizerKind: decoded.metadata.has("tokenizer.ggml.model") ? "ggml" : null,
    fileBytes: source.sizeBytes,
    dataOffset: tensors.dataOffset,
    values: decoded.metadata,
    metadata: displayMetadata(decoded.metadata),
  });
}

function matricesOf(
  tensors: TensorTable,
  { attention, ffn }: LayerGeometry,
  dModel: number,
  prefix: string,
): MatrixTensors {
  const matrix = (name: string, rows: number, cols = dModel) =>
    tensors.require({ name: `${prefix}${name}.weight`, rows, cols });
  const dQuery = queryWidth(attention);
  return Object.freeze({
    query: matrix("attn_q", dQuery),
    key: matrix("attn_k", kvWidth(attention)),
    value: matrix("attn_v", kvWidth(attention)),
    output: matrix("attn_output", dModel, dQuery),
    gate: matrix("ffn_gate", ffn.dFf),
    up: matrix("ffn_up", ffn.dFf),
    down: matrix("ffn_down", dModel, ffn.dFf),
  });
}

function matrixLayout({ layers }: ModelGeometry, matrices: readonly MatrixTensors[]): MatrixLayout {
  const bytesOf = (of: MatrixTensors) => Object.values(of).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const slots = matrices.map((of, i) => roundUp(bytesOf(of) / layers[i]!.ffn.dFf, SLOT_UNIT_BYTES));
  return { layout: "matrices", dtype: matrices[0]!.up.dtype, slotBytes: Math.max(...slots) };
}

/** f32 `[dims / 2]`, or null where the file has no such table. */
async function readRotaryFactors(tensors: TensorTable, source: ByteSource): Promise<readonly number[] | null> {
  const name = "rope_freqs.weight";
  const count = tensors.lengthOf(name);
  if (count === null) return null;
  const { offset, sizeBytes } = tensors.require({ name, rows: 1, cols: count });
  const bytes = new Uint8Array(sizeBytes);
  await source.read(bytes, offset);
  const factors = [...new Float32Array(bytes.buffer)];
  if (factors.every((factor) => factor > 0 && factor < Number.POSITIVE_INFINITY)) return factors;
  throw tensors.invalid(name, "positive divisors", "others");
}

/** The tensor table, asked by name. */
class TensorTable {
  readonly dataOffset: number;
  readonly #byName: ReadonlyMap<string, GgufTensor>;
  readonly #fileName: string;
  readonly #fileBytes: number;

  constructor({ tensors, headerBytes }: DecodedGgufHeader, metadata: GgufMetadata, fileBytes: number) {
    const key = "general.alignment";
    const alignment = metadata.optionalInteger(key, 1, MAX_ALIGNMENT) ?? GGUF_DEFAULT_ALIGNMENT;
    this.dataOffset = roundUp(headerBytes, alignment);
    this.#byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    this.#fileName = metadata.fileName;
    this.#fileBytes = fileBytes;
  }

  /** Rows of the token embedding. */
  get vocabSize(): number {
    const { shape } = this.#find("token_embd.weight");
    const rows = shape[1] ?? 0;
    if (shape.length === 2 && rows >= 1 && rows <= MAX_VOCAB) return rows;
    throw this.invalid("token_embd.weight", `a row for each of at most ${MAX_VOCAB} tokens`, `[${shape.join(", ")}]`);
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  /** Elements of a vector; null if there is no such tensor. */
  lengthOf(name: string): number | null {
    const shape = this.#byName.get(name)?.shape;
    if (shape === undefined) return null;
    if (shape.length === 1 && shape[0]! >= 1 && shape[0]! <= MAX_WIDTH) return shape[0]!;
    throw this.invalid(name, "a vector", `[${shape.join(", ")}]`);
  }

  /** @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`, `FORMAT_TRUNCATED`. {UnsupportedError} `UNSUPPORTED_FEATURE` for its type. */
  require({ name, rows, cols }: TensorShape): ResidentTensor {
    const tensor = this.#find(name);
    const isVector = isVectorName(name) || name === "rope_freqs.weight";
    const expected = isVector ? [cols] : [cols, rows];
    if (tensor.shape.join() !== expected.join()) {
      throw this.invalid(name, `shape [${expected.join(", ")}]`, `[${tensor.shape.join(", ")}]`);
    }
    const dtype = typeof tensor.type === "number" ? undefined : DTYPE_OF_GGML_TYPE[tensor.type];
    if (dtype === undefined || (isVector && dtype !== "f32")) throw this.#unsupported(tensor, isVector);
    const sizeBytes = ggufTensorBytes(tensor);
    if (sizeBytes === null) throw this.invalid(name, `rows of whole ${tensor.type} blocks`, `${cols} columns`);
    const offset = this.dataOffset + tensor.offset;
    if (offset + sizeBytes > this.#fileBytes) throw this.#beyondEnd(name, offset, sizeBytes);
    return Object.freeze({ name, dtype, rows, cols, offset, sizeBytes, crc32c: null, scales: null });
  }

  invalid(name: string, expected: string, found: string): FormatError {
    return new FormatError(
      "FORMAT_INVALID",
      `${this.#fileName}: tensor "${name}": expected ${expected}, found ${found}; fetch the file again, or another one`,
      { details: { tensor: name, expected, found } },
    );
  }

  #find(name: string): GgufTensor {
    const tensor = this.#byName.get(name);
    if (tensor) return tensor;
    throw new FormatError(
      "FORMAT_MISSING",
      `${this.#fileName}: tensor "${name}" is missing; fetch the file again, or another one`,
      { details: { tensor: name } },
    );
  }

  #unsupported({ name, type }: GgufTensor, isVector: boolean): UnsupportedError {
    const known = isVector ? "F32" : Object.keys(DTYPE_OF_GGML_TYPE).join(", ");
    return new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${this.#fileName}: tensor "${name}" is of type ${type}, expected ${known}; fetch the model in one of these`,
      { details: { tensor: name, type } },
    );
  }

  #beyondEnd(name: string, offset: number, sizeBytes: number): FormatError {
    return new FormatError(
      "FORMAT_TRUNCATED",
      `${this.#fileName} @ ${offset}: tensor "${name}" has ${sizeBytes} bytes, but the file ends at ${this.#fileBytes}; fetch it again`,
      { details: { tensor: name, offset, sizeBytes, fileBytes: this.#fileBytes } },
    );
  }
}
