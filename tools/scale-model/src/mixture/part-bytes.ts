/**
 * The stored bytes of a tensor's parts, piece by piece. Most rows of the target are copies: each is encoded once, and the encoded rows of the
 * source layer at hand are kept, since its other target layers, slices and twins ask for them again.
 */
import { InputError, MiB, rowBytes } from "@flashwick/core";
import { crc32c, RowEncoder } from "@flashwick/flash-format";
import { expandRows } from "../expansion.js";
import {
  type ConstantPart,
  type ExpandedPart,
  isConstant,
  type MixtureDType,
  type MixtureTensor,
} from "./mixture-parts.js";

const PIECE_BYTES = 4 * MiB;

export type ReadTensor = (name: string) => Promise<Float32Array>;

export class PartBytes {
  readonly #read: ReadTensor;
  readonly #sources = new Map<string, Float32Array>();
  /** Encoded rows by what they are made of. */
  readonly #rows = new Map<string, Uint8Array>();
  #sourceLayer: number | null = null;

  constructor(read: ReadTensor) {
    this.#read = read;
  }

  /**
   * @returns Pieces of about 4 MiB, valid until the next one is asked for.
   * @throws {InputError} `INPUT_INVALID` for a weight that the type cannot hold.
   */
  async *of(tensor: MixtureTensor): AsyncGenerator<Uint8Array> {
    if (tensor.sourceLayer !== this.#sourceLayer) this.#forget(tensor.sourceLayer);
    for (const part of tensor.parts()) {
      if (isConstant(part)) yield constantBytes(part);
      else yield* this.#expanded(part, tensor);
    }
  }

  #forget(sourceLayer: number | null): void {
    this.#sources.clear();
    this.#rows.clear();
    this.#sourceLayer = sourceLayer;
  }

  async *#expanded(part: ExpandedPart, { dtype, name }: MixtureTensor): AsyncGenerator<Uint8Array> {
    const small = await this.#source(part.source);
    const { rows, columns } = part.expansion;
    const bytes = rowBytes(dtype, columns.length);
    const most = Math.max(1, Math.floor(PIECE_BYTES / bytes));
    const piece = new Uint8Array(Math.min(most, rows.length) * bytes);
    const known = new Map<string, Uint8Array>();
    const form = formKey(part, dtype);
    for (let row = 0; row < rows.length; row++) {
      const key = `${rows[row]} ${part.expansion.rowFactors[row]}`;
      let encoded = known.get(key);
      if (!encoded) known.set(key, (encoded = this.#row(`${form} ${key}`, part, small, row, dtype, name)));
      piece.set(encoded, (row % most) * bytes);
      if (row % most === most - 1 || row === rows.length - 1) yield piece.subarray(0, ((row % most) + 1) * bytes);
    }
  }

  #row(
    key: string,
    part: ExpandedPart,
    small: Float32Array,
    row: number,
    dtype: MixtureDType,
    name: string,
  ): Uint8Array {
    const kept = part.mark ? undefined : this.#rows.get(key);
    if (kept) return kept;
    const values = new Float32Array(part.expansion.columns.length);
    expandRows(small, part.sourceCols, part.expansion, row, values);
    part.mark?.(row, values);
    const encoded = encodedRow(values, dtype, name);
    if (!part.mark) this.#rows.set(key, encoded);
    return encoded;
  }

  async #source(name: string): Promise<Float32Array> {
    let values = this.#sources.get(name);
    if (!values) this.#sources.set(name, (values = await this.#read(name)));
    return values;
  }
}

/** Tells apart expansions of one source tensor, whose rows may be the same: layers differ in the columns' factors, slices in the columns. */
function formKey({ source, expansion: { columns, columnFactors } }: ExpandedPart, dtype: MixtureDType): string {
  const crcOf = ({ buffer, byteOffset, byteLength }: Uint32Array | Float32Array) =>
    crc32c(new Uint8Array(buffer, byteOffset, byteLength));
  return `${source} ${dtype} ${columns.length} ${crcOf(columns)} ${crcOf(columnFactors)}`;
}

function encodedRow(values: Float32Array, dtype: MixtureDType, name: string): Uint8Array {
  const bytes = rowBytes(dtype, values.length);
  const encoder = new RowEncoder(dtype, Math.ceil(bytes / 4) * 4);
  if (encoder.encode(values, 0)) return encoder.bytes.subarray(0, bytes);
  const { column, value } = encoder.unstorable!;
  throw new InputError(
    "INPUT_INVALID",
    `${name}: expected weights that ${dtype} can hold, found ${value} in column ${column}`,
    {
      details: { tensor: name, column, value },
    },
  );
}

function constantBytes({ constant, count }: ConstantPart): Uint8Array {
  return new Uint8Array(new Float32Array(count).fill(constant).buffer);
}
