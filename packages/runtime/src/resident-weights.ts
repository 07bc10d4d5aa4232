/**
 * Loading the weights that stay in DRAM: straight from the file into arena memory, checksum verified, no parsing.
 */
import { bytesPerElement, FormatError, type ModelGeometry } from "@flashwick/core";
import { type ModelFile, type ModelHeader, type ResidentTensor, readResidentTensor } from "@flashwick/flash-format";
import { type Arena, type Matrix, type Ptr, TAIL_BYTES } from "@flashwick/kernels";

/** A linear layer: a matrix, and f32 biases or 0. */
export interface Linear {
  readonly weight: Matrix;
  readonly bias: Ptr;
}

/** A layer norm: f32 vectors, or 0 where it has none. */
export interface Norm {
  readonly weight: Ptr;
  readonly bias: Ptr;
}

export interface LayerWeights {
  readonly attnNorm: Norm;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly attnOutput: Linear;
  readonly ffnNorm: Norm;
  /** f32 `[dFf]`, or 0. */
  readonly upBias: Ptr;
  /** f32 `[dModel]`, or 0. */
  readonly downBias: Ptr;
}

export interface GlobalWeights {
  /** Tables read by row: null where they stay on flash. */
  readonly positions: Matrix | null;
  readonly embeddings: Matrix | null;
  readonly projectIn: Matrix | null;
  readonly projectOut: Matrix | null;
  readonly finalNorm: Norm | null;
  readonly head: Matrix;
}

const ALIGNMENT = 16;
const aligned = (bytes: number) => (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);

/** Arena bytes of one tensor: elements, tail and, for int8, scales. */
function tensorBytes(tensor: ResidentTensor): number {
  const scales = tensor.scales ? aligned(tensor.scales.sizeBytes + TAIL_BYTES) : 0;
  return aligned(tensor.sizeBytes + TAIL_BYTES) + scales;
}

/** Names of the tables of which a token needs one row only: they may stay on flash. */
export function rowTableNames(geometry: ModelGeometry): string[] {
  const names = geometry.architecture === "opt" ? ["position_embd.weight"] : [];
  return geometry.tiedHead ? names : [...names, "token_embd.weight"];
}

/** Bytes of the resident tensors: of each layer, of the globals, and of the tables that may stay on flash. */
export interface ResidentSizes {
  readonly layerBytes: readonly number[];
  readonly globalBytes: number;
  readonly rowTableBytes: number;
  /** Bytes of one row of the widest such table. */
  readonly rowBytes: number;
}

export function residentSizes(header: ModelHeader): ResidentSizes {
  const tables = new Set(rowTableNames(header.geometry));
  const layerBytes = new Array<number>(header.geometry.nLayers).fill(0);
  let globalBytes = 0;
  let rowTableBytes = 0;
  let rowBytes = 0;
  for (const tensor of header.tensors.values()) {
    const layer = /^blk\.(\d+)\./.exec(tensor.name);
    if (layer) layerBytes[Number(layer[1])]! += tensorBytes(tensor);
    else if (tables.has(tensor.name)) {
      rowTableBytes += tensorBytes(tensor);
      rowBytes = Math.max(rowBytes, aligned(tensor.cols * bytesPerElement(tensor.dtype) + TAIL_BYTES));
    } else globalBytes += tensorBytes(tensor);
  }
  return { layerBytes, globalBytes, rowTableBytes, rowBytes };
}

/** Loads tensors by name into arenas; counts bytes for progress. */
export class ResidentLoader {
  readonly #file: ModelFile;
  readonly #onBytes: (bytes: number) => void;
  readonly #signal: AbortSignal | undefined;

  constructor(file: ModelFile, onBytes: (bytes: number) => void, signal?: AbortSignal) {
    this.#file = file;
    this.#onBytes = onBytes;
    this.#signal = signal;
  }

  async layer(arena: Arena, layer: number): Promise<LayerWeights> {
    const prefix = `blk.${layer}.`;
    return {
      attnNorm: await this.#norm(arena, `${prefix}attn_norm`),
      query: await this.#linear(arena, `${prefix}attn_q`),
      key: await this.#linear(arena, `${prefix}attn_k`),
      value: await this.#linear(arena, `${prefix}attn_v`),
      attnOutput: await this.#linear(arena, `${prefix}attn_output`),
      ffnNorm: await this.#norm(arena, `${prefix}ffn_norm`),
      upBias: await this.#vector(arena, `${prefix}ffn_up.bias`),
      downBias: await this.#vector(arena, `${prefix}ffn_down.bias`),
    };
  }

  /** @param rowTables Whether tables that are read by row are loaded, too. */
  async globals(arena: Arena, rowTables: boolean): Promise<GlobalWeights> {
    const { geometry } = this.#file.header;
    const byRow = rowTableNames(geometry);
    const table = async (name: string) =>
      byRow.includes(name) && !rowTables ? null : await this.#optionalMatrix(arena, name);
    const embeddings = await table("token_embd.weight");
    const head = geometry.tiedHead ? embeddings : await this.#matrix(arena, "output.weight");
    return {
      embeddings,
      head: head!,
      positions: await table("position_embd.weight"),
      projectIn: await this.#optionalMatrix(arena, "project_in.weight"),
      projectOut: await this.#optionalMatrix(arena, "project_out.weight"),
      finalNorm: geometry.finalNorm ? await this.#norm(arena, "output_norm") : null,
    };
  }

  async #linear(arena: Arena, name: string): Promise<Linear> {
    return { weight: await this.#matrix(arena, `${name}.weight`), bias: await this.#vector(arena, `${name}.bias`) };
  }

  async #norm(arena: Arena, name: string): Promise<Norm> {
    return { weight: await this.#vector(arena, `${name}.weight`), bias: await this.#vector(arena, `${name}.bias`) };
  }

  async #vector(arena: Arena, name: string): Promise<Ptr> {
    const tensor = this.#file.header.tensors.get(name);
    return tensor ? (await this.#load(arena, tensor)).data : 0;
  }

  async #matrix(arena: Arena, name: string): Promise<Matrix> {
    const matrix = await this.#optionalMatrix(arena, name);
    if (matrix) return matrix;
    throw new FormatError("FORMAT_MISSING", `${this.#file.source.name}: tensor ${name} is missing; convert again`, {
      details: { tensor: name },
    });
  }

  async #optionalMatrix(arena: Arena, name: string): Promise<Matrix | null> {
    const tensor = this.#file.header.tensors.get(name);
    return tensor ? await this.#load(arena, tensor) : null;
  }

  async #load(arena: Arena, tensor: ResidentTensor): Promise<Matrix> {
    const data = arena.allocate(aligned(tensor.sizeBytes + TAIL_BYTES), ALIGNMENT);
    let scales = 0;
    let scalesTarget: Uint8Array | undefined;
    if (tensor.scales) {
      scales = arena.allocate(aligned(tensor.scales.sizeBytes + TAIL_BYTES), ALIGNMENT);
      scalesTarget = arena.u8(scales, tensor.scales.sizeBytes);
    }
    await readResidentTensor(this.#file, tensor, arena.u8(data, tensor.sizeBytes), scalesTarget, this.#signal);
    this.#onBytes(tensor.sizeBytes);
    return { dtype: tensor.dtype, data, scales, rows: tensor.rows, cols: tensor.cols };
  }
}
