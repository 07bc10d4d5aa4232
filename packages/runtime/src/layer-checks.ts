/** The rows of one layer's matrices, held against the checksums beside a file of llama.cpp's as they come from flash. */
import { rowBytes } from "@flashwick/core";
import {
  type ByMatrix,
  checksOf,
  damagedTensor,
  type ModelFile,
  mapMatrices,
  type TensorChecks,
} from "@flashwick/flash-format";
import type { Kernels } from "@flashwick/kernels";
import type { StagedRows } from "./staged-rows.js";

export class LayerChecks {
  readonly #file: ModelFile;
  readonly #layer: number;
  readonly #checks: ByMatrix<TensorChecks | null>;

  constructor(file: ModelFile, layer: number) {
    this.#file = file;
    this.#layer = layer;
    this.#checks = mapMatrices(file.header.matrices[layer]!, (tensor) => checksOf(file.header, tensor));
  }

  /**
   * Rows of a matrix have landed in the stage, from its first on in order. A group of bytes that ends in later rows is found out by those: before the
   * layer's last product, and so before any token that it would have changed.
   *
   * @throws {IntegrityError} `INTEGRITY_TENSOR`.
   * Cost: a CRC-32C of the rows.
   */
  take({ name, first, end, matrix: { dtype, cols, data } }: StagedRows, kernels: Kernels): void {
    const eachBytes = rowBytes(dtype, cols);
    const begin = first * eachBytes;
    const crcOf = (at: number, sizeBytes: number, seed: number) => kernels.crc32c(data + begin + at, sizeBytes, seed);
    this.#checks[name]?.take(begin, end * eachBytes - begin, crcOf, (offset) => {
      throw damagedTensor(this.#file.source, this.#file.header.matrices[this.#layer]![name]!.name, offset);
    });
  }
}
