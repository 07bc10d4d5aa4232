/**
 * Loading the weights that stay in DRAM: straight from the file into arena memory, checksum verified, no parsing.
 */
import {
  eventLoopTurn,
  FormatError,
  IntegrityError,
  type LayerNorms,
  type ModelGeometry,
  type NormGeometry,
  rowBytes,
} from "@flashwick/core";
import {
  type ByMatrix,
  carriesChecksums,
  checksOf,
  damagedTensor,
  gateName,
  LAYER_NORM_NAMES,
  type ModelFile,
  type ModelHeader,
  mapMatrices,
  type ResidentTensor,
  type TensorChecks,
} from "@flashwick/flash-format";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { type Arena, type Kernels, type Matrix, type Ptr, TAIL_BYTES } from "@flashwick/kernels";
import { landAll } from "./landing.js";

/** A linear layer: a matrix, and f32 biases or 0. */
export interface Linear {
  /** Null where a layer's matrices are resident or streamed together (layer-matrices.ts). */
  readonly weight: Matrix | null;
  readonly bias: Ptr;
}

/** A norm with its f32 vectors, or 0 where it has none. */
export interface Norm {
  readonly geometry: NormGeometry;
  readonly weight: Ptr;
  readonly bias: Ptr;
}

export interface LayerWeights {
  readonly norms: { readonly [Place in keyof LayerNorms]: Norm | null };
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly attnOutput: Linear;
  /** Null where they are turned as they are. */
  readonly queryNorm: Norm | null;
  readonly keyNorm: Norm | null;
  /** Attention sinks, f32 `[nHeads]`, or 0. */
  readonly sinks: Ptr;
  /** f32 `[dFf]`, or 0. */
  readonly gateBias: Ptr;
  readonly upBias: Ptr;
  /** f32 `[dModel]`, or 0. */
  readonly downBias: Ptr;
}

/** The matrices of an FFN. */
export interface FfnWeights {
  /** Null where there is no gate. */
  readonly gate: Linear | null;
  readonly up: Linear;
  readonly down: Linear;
}

/** What a layer of a mixture has in DRAM beside attention: what every token uses, and what of experts is not read from flash. */
export interface MixtureWeights {
  /** A dense layer's FFN, or a shared expert; null where there is none. */
  readonly resident: FfnWeights | null;
  /** f32 `[dModel]`: a shared expert's gate; null where there is none. */
  readonly outputGate: Matrix | null;
  /** Null in a dense layer. */
  readonly router: Linear | null;
  /** Of experts: f32 `[count, dFf]`, and of down `[count, dModel]`; 0 for none. */
  readonly biases: { readonly gate: Ptr; readonly up: Ptr; readonly down: Ptr };
}

export interface GlobalWeights {
  /** Tables read by row: null where they stay on flash. */
  readonly positions: Matrix | null;
  readonly embeddings: Matrix | null;
  readonly projectIn: Matrix | null;
  readonly projectOut: Matrix | null;
  readonly finalNorm: Norm | null;
  readonly head: Matrix;
  /** f32 `[vocabSize]`, or 0. */
  readonly headBias: Ptr;
}

const ALIGNMENT = 16;
/** Where large tensors begin, so that direct reads land in place; what this wastes does not matter beside them. */
const LARGE_ALIGNMENT = 4096;
const LARGE_BYTES = 2 ** 20;
/** One read of a tensor. */
const LOAD_READ_BYTES = 2 ** 20;

const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
const alignmentOf = (sizeBytes: number) => (sizeBytes >= LARGE_BYTES ? LARGE_ALIGNMENT : ALIGNMENT);

/** What placing a tensor may take beyond its bytes. */
export const PLACEMENT_SLACK_BYTES = LARGE_ALIGNMENT + TAIL_BYTES + ALIGNMENT;

/** Arena bytes of elements or scales, with tail and what alignment may cost. */
function placedBytes(sizeBytes: number): number {
  return aligned(sizeBytes + TAIL_BYTES) + (alignmentOf(sizeBytes) - ALIGNMENT);
}

/** Arena bytes of one tensor: elements and, for int8, scales. */
function tensorBytes(tensor: ResidentTensor): number {
  return placedBytes(tensor.sizeBytes) + (tensor.scales ? placedBytes(tensor.scales.sizeBytes) : 0);
}

/** Names of the tables of which a token needs one row only: they may stay on flash. */
export function rowTableNames(geometry: ModelGeometry): string[] {
  const names = geometry.embedding.positions ? ["position_embd.weight"] : [];
  return geometry.head.tied ? names : [...names, "token_embd.weight"];
}

/** Bytes of the resident tensors: of each layer, of the globals, and of the tables that may stay on flash. */
export interface ResidentSizes {
  readonly layerBytes: readonly number[];
  readonly globalBytes: number;
  readonly rowTableBytes: number;
  /** Bytes of one row of the widest such table. */
  readonly rowBytes: number;
  /** Of such tables on flash: the CRC-32C of each row, where the file has checksums to make them by. */
  readonly rowCrcBytes: number;
}

export function residentSizes(header: ModelHeader): ResidentSizes {
  const tables = new Set(rowTableNames(header.geometry));
  const layerBytes = new Array<number>(header.geometry.layers.length).fill(0);
  let globalBytes = 0;
  let rowTableBytes = 0;
  let tableRowBytes = 0;
  let tableRows = 0;
  for (const tensor of header.tensors.values()) {
    const layer = /^blk\.(\d+)\./.exec(tensor.name);
    if (layer) layerBytes[Number(layer[1])]! += tensorBytes(tensor);
    else if (tables.has(tensor.name)) {
      rowTableBytes += tensorBytes(tensor);
      tableRows += tensor.rows;
      tableRowBytes = Math.max(tableRowBytes, aligned(rowBytes(tensor.dtype, tensor.cols) + TAIL_BYTES));
    } else globalBytes += tensorBytes(tensor);
  }
  const isChecked = carriesChecksums(header) || header.checksums !== undefined;
  return {
    layerBytes,
    globalBytes,
    rowTableBytes,
    rowBytes: tableRowBytes,
    rowCrcBytes: isChecked ? 4 * tableRows : 0,
  };
}

/** One stretch of the file, where it goes, and what its checksum must be. */
interface ResidentRead {
  readonly tensor: string;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly crc32c: number | null;
  /** Of a file of llama.cpp's with checksums beside it. */
  readonly checks: TensorChecks | null;
  readonly ptr: Ptr;
}

/**
 * Places tensors in arenas, by name, and then reads them all: in the order of the file, with large reads in parallel straight
 * to their places, each tensor checked while the next ones fly. A reader without threads reads one after the other, each when
 * it is waited for.
 */
export class ResidentLoader {
  readonly #file: ModelFile;
  readonly #reads = new Map<Arena, ResidentRead[]>();

  constructor(file: ModelFile) {
    this.#file = file;
  }

  /** Of everything placed so far. */
  get totalBytes(): number {
    return [...this.#reads.values()].flat().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  layer(arena: Arena, layer: number): LayerWeights {
    const prefix = `blk.${layer}.`;
    const { norms, attention } = this.#file.header.geometry.layers[layer]!;
    const headNorm = attention.queryKeyNorm?.norm ?? null;
    const norm = (place: keyof LayerNorms) => this.#norm(arena, norms[place], prefix + LAYER_NORM_NAMES[place]);
    return {
      norms: {
        beforeAttention: norm("beforeAttention"),
        afterAttention: norm("afterAttention"),
        attentionSum: norm("attentionSum"),
        beforeFfn: norm("beforeFfn"),
        afterFfn: norm("afterFfn"),
        ffnSum: norm("ffnSum"),
      },
      query: this.#linear(arena, `${prefix}attn_q`),
      key: this.#linear(arena, `${prefix}attn_k`),
      value: this.#linear(arena, `${prefix}attn_v`),
      attnOutput: this.#linear(arena, `${prefix}attn_output`),
      queryNorm: this.#norm(arena, headNorm, `${prefix}attn_q_norm`),
      keyNorm: this.#norm(arena, headNorm, `${prefix}attn_k_norm`),
      sinks: this.#vector(arena, `${prefix}attn_sinks.weight`),
      gateBias: this.#vector(arena, `${prefix}ffn_gate.bias`),
      upBias: this.#vector(arena, `${prefix}ffn_up.bias`),
      downBias: this.#vector(arena, `${prefix}ffn_down.bias`),
    };
  }

  /** What of a layer of a mixture of experts {@link layer} has not. */
  mixture(arena: Arena, layer: number, { upBias, gateBias, downBias }: LayerWeights): MixtureWeights {
    const prefix = `blk.${layer}.`;
    const { ffn, experts } = this.#file.header.geometry.layers[layer]!;
    const weight = (name: string, bias: Ptr): Linear => ({
      weight: this.#matrix(arena, `${prefix}${name}.weight`),
      bias,
    });
    const residentFfn = (suffix: "" | "_shexp"): FfnWeights => ({
      gate: ffn.gated ? weight(`ffn_gate${suffix}`, suffix ? 0 : gateBias) : null,
      up: weight(`ffn_up${suffix}`, suffix ? 0 : upBias),
      down: weight(`ffn_down${suffix}`, suffix ? 0 : downBias),
    });
    const biasOf = (name: string) => this.#vector(arena, `${prefix}${name}_exps.bias`);
    const isDense = experts === undefined;
    return {
      resident: isDense ? residentFfn("") : experts.shared && residentFfn("_shexp"),
      outputGate: experts?.shared?.gated ? this.#matrix(arena, `${prefix}ffn_gate_inp_shexp.weight`) : null,
      router: isDense ? null : this.#linear(arena, `${prefix}ffn_gate_inp`),
      biases: { gate: biasOf("ffn_gate"), up: biasOf("ffn_up"), down: biasOf("ffn_down") },
    };
  }

  /** The gate of a layer's neurons, where records have none. */
  neuronGate(arena: Arena, layer: number): Matrix {
    return this.#matrix(arena, gateName(layer));
  }

  /** All matrices of a layer that lie row by row. */
  matrices(arena: Arena, layer: number): ByMatrix<Matrix> {
    return mapMatrices(this.#file.header.matrices[layer]!, (tensor) => this.#place(arena, tensor));
  }

  /** @param rowTables Whether tables that are read by row are loaded, too. */
  globals(arena: Arena, rowTables: boolean): GlobalWeights {
    const { geometry } = this.#file.header;
    const byRow = rowTableNames(geometry);
    const table = (name: string) => (byRow.includes(name) && !rowTables ? null : this.#optionalMatrix(arena, name));
    const embeddings = table("token_embd.weight");
    const head = geometry.head.tied ? embeddings : this.#matrix(arena, "output.weight");
    return {
      embeddings,
      head: head!,
      headBias: this.#vector(arena, "output.bias"),
      positions: table("position_embd.weight"),
      projectIn: this.#optionalMatrix(arena, "project_in.weight"),
      projectOut: this.#optionalMatrix(arena, "project_out.weight"),
      finalNorm: this.#norm(arena, geometry.finalNorm, "output_norm"),
    };
  }

  /**
   * Reads everything that was placed. May be called again: it reads again.
   *
   * @param onBytes Called with the size of each tensor that has come and passed; may wait, and may throw to end the loading.
   * @param signal  Ends the loading within one read of {@link LOAD_READ_BYTES}.
   * @returns What was read.
   * @throws {IntegrityError} `INTEGRITY_TENSOR`. As `FlashReader.wait`.
   * Cost: the time to read these bytes in sequence, while the checksums keep up (some 2 GB/s).
   */
  async load(
    kernelsOf: (arena: Arena) => Kernels,
    reader: FlashReader,
    onBytes: (bytes: number) => void | Promise<void>,
    signal?: AbortSignal,
  ): Promise<{ readonly bytes: number; readonly reads: number }> {
    let bytes = 0;
    let count = 0;
    for (const [arena, reads] of this.#reads) {
      reads.sort((a, b) => a.offset - b.offset);
      count += await this.#loadArena(arena, reads, kernelsOf(arena), reader, onBytes, signal);
      bytes += reads.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    }
    return { bytes, reads: count };
  }

  /** Returns how many reads it took. */
  async #loadArena(
    arena: Arena,
    reads: readonly ResidentRead[],
    kernels: Kernels,
    reader: FlashReader,
    onBytes: (bytes: number) => void | Promise<void>,
    signal?: AbortSignal,
  ): Promise<number> {
    const runs = reads.map(runsOf);
    // The batch is gigabytes: what ends it for any reason takes back the reads that have not begun.
    const unwanted = new AbortController();
    const onAbort = () => unwanted.abort(signal!.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", onAbort);
    try {
      const readsAhead = reader.readers > 0;
      if (readsAhead) reader.start(arena.bytes, runs.flat(), unwanted.signal);
      let landed = 0;
      for (const [i, read] of reads.entries()) {
        landed += runs[i]!.length;
        const pending = readsAhead ? reader.wait(landed) : readInTurns(reader, arena.bytes, runs[i]!, unwanted.signal);
        if (pending) await pending;
        this.#check(kernels, read);
        kernels.put(read.ptr, read.sizeBytes);
        await onBytes(read.sizeBytes);
      }
      return landed;
    } catch (error) {
      unwanted.abort(error);
      await landAll(reader);
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #check(kernels: Kernels, { tensor, offset, sizeBytes, crc32c, checks, ptr }: ResidentRead): void {
    const crcOf = (at: number, count: number, seed: number) => kernels.crc32c(ptr + at, count, seed);
    checks?.take(0, sizeBytes, crcOf, (damaged) => {
      throw damagedTensor(this.#file.source, tensor, damaged);
    });
    if (crc32c === null || kernels.crc32c(ptr, sizeBytes) >>> 0 === crc32c >>> 0) return;
    throw new IntegrityError(
      "INTEGRITY_TENSOR",
      `${this.#file.source.name} @ ${offset}: tensor ${tensor} does not match its CRC-32C; the file is damaged, fetch ` +
        "or convert it again",
      { details: { tensor, offset } },
    );
  }

  #linear(arena: Arena, name: string): Linear {
    const isTogether = this.#file.header.matrices.length > 0;
    const weight = isTogether ? null : this.#matrix(arena, `${name}.weight`);
    return { weight, bias: this.#vector(arena, `${name}.bias`) };
  }

  #norm(arena: Arena, geometry: NormGeometry | null, name: string): Norm | null {
    if (!geometry) return null;
    return { geometry, weight: this.#vector(arena, `${name}.weight`), bias: this.#vector(arena, `${name}.bias`) };
  }

  #vector(arena: Arena, name: string): Ptr {
    const tensor = this.#file.header.tensors.get(name);
    return tensor ? this.#place(arena, tensor).data : 0;
  }

  #matrix(arena: Arena, name: string): Matrix {
    const matrix = this.#optionalMatrix(arena, name);
    if (matrix) return matrix;
    throw new FormatError("FORMAT_MISSING", `${this.#file.source.name}: tensor ${name} is missing; convert again`, {
      details: { tensor: name },
    });
  }

  #optionalMatrix(arena: Arena, name: string): Matrix | null {
    const tensor = this.#file.header.tensors.get(name);
    return tensor ? this.#place(arena, tensor) : null;
  }

  #place(arena: Arena, tensor: ResidentTensor): Matrix {
    const reads = this.#reads.get(arena) ?? [];
    this.#reads.set(arena, reads);
    const place = (part: Pick<ResidentRead, "tensor" | "offset" | "sizeBytes" | "crc32c" | "checks">): Ptr => {
      const ptr = arena.allocate(aligned(part.sizeBytes + TAIL_BYTES), alignmentOf(part.sizeBytes));
      reads.push({ ...part, ptr });
      return ptr;
    };
    const { name, offset, sizeBytes, crc32c } = tensor;
    const checks = checksOf(this.#file.header, tensor);
    const data = place({ tensor: name, offset, sizeBytes, crc32c, checks });
    const scales = tensor.scales ? place({ ...tensor.scales, tensor: `${name}.scale`, checks: null }) : 0;
    return { dtype: tensor.dtype, data, scales, rows: tensor.rows, cols: tensor.cols };
  }
}

/** Reads `runs` with a reader that reads within `start`: one at a time, with a turn of the event loop between two, in which aborts come in. */
async function readInTurns(
  reader: FlashReader,
  memory: Uint8Array,
  runs: readonly FlashRun[],
  signal: AbortSignal,
): Promise<void> {
  for (const [i, run] of runs.entries()) {
    if (i > 0) await eventLoopTurn();
    reader.start(memory, [run], signal);
    await reader.wait();
  }
}

function runsOf({ offset, sizeBytes, ptr }: ResidentRead): FlashRun[] {
  return Array.from({ length: Math.ceil(sizeBytes / LOAD_READ_BYTES) }, (_, i) => {
    const at = i * LOAD_READ_BYTES;
    const size = Math.min(LOAD_READ_BYTES, sizeBytes - at);
    return { offset: offset + at, sizeBytes: size, pieces: [{ ptr: ptr + at, sizeBytes: size }], picks: 0 };
  });
}
