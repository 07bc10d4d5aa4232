/** The checks that an engine makes of what has landed, on the kernels that it makes them with: records of neurons, and experts. */

import { COLUMN_STAGES, type ColumnStage, IntegrityError } from "@flashwick/core";
import {
  columnsOf,
  expertCrc,
  type ModelFile,
  planExpertSlot,
  readColumnChecksums,
  readExpertChecksums,
  readRecordChecksums,
  recordLayout,
} from "@flashwick/flash-format";
import { Arena, type HostKernels } from "@flashwick/kernels";
import { createWasmKernels } from "@flashwick/kernels-wasm";

/** Holds a record or an expert of a file against its checksum, which were read before anything was damaged. */
export class CheckedUnits {
  readonly #kernels: HostKernels;
  readonly #ptr: number;
  readonly #slots: number;

  private constructor(
    private readonly file: ModelFile,
    private readonly bytes: Uint8Array,
    /** By layer: of neurons or experts; null where it has neither, or has them beside the file. */
    private readonly expected: readonly (Uint32Array | null)[],
    /** By layer, of both kinds of columns. */
    private readonly columns: readonly Readonly<Record<ColumnStage, Uint32Array>>[],
    unitBytes: number,
  ) {
    const arena = new Arena(unitBytes + 8192);
    this.#kernels = createWasmKernels(arena) as HostKernels;
    this.#slots = arena.allocate(64);
    this.#ptr = arena.allocate(unitBytes);
  }

  static async open(file: ModelFile, bytes: Uint8Array): Promise<CheckedUnits> {
    const { records, experts, weights } = file.header;
    const expected: (Uint32Array | null)[] = [];
    for (const { layer } of records) expected.push(await readRecordChecksums(file, layer));
    for (const [layer, of] of experts.entries()) {
      expected.push(of?.recordChecks ? await readExpertChecksums(file, layer) : null);
    }
    const columns: Record<ColumnStage, Uint32Array>[] = [];
    for (const layer of file.header.columns.keys()) {
      const [inputs, outputs] = COLUMN_STAGES.map((stage) => readColumnChecksums(file, layer, stage));
      columns.push({ inputs: await inputs!, outputs: await outputs! });
    }
    const layout = columnsOf(file.header);
    const unitBytes = layout ? layout.inputs.strideBytes + layout.outputs.strideBytes : weights.slotBytes;
    return new CheckedUnits(file, bytes, expected, columns, unitBytes);
  }

  /** As an engine's slots check a column. @throws {IntegrityError} */
  checkColumn(layer: number, stage: ColumnStage, unit: number): void {
    const { header } = this.file;
    const { strideBytes } = columnsOf(header)![stage];
    const begin = header.columns[layer]![stage].offset + unit * strideBytes;
    const { bytes, u32 } = this.#memory();
    bytes.set(this.bytes.subarray(begin, begin + strideBytes), this.#ptr);
    u32[0] = 0;
    this.#kernels.crc32cSlots(this.#slots + 32, this.#ptr, strideBytes, strideBytes, this.#slots, 1);
    this.#compare(u32[8]!, this.columns[layer]![stage][unit]!);
  }

  /** As an engine's slots check a neuron. @throws {IntegrityError} */
  checkRecord(layer: number, neuron: number): void {
    const { header } = this.file;
    const { strideBytes, slotBytes } = recordLayout(header);
    const { offset, downOffset } = header.records[layer]!;
    const { bytes, u32 } = this.#memory();
    bytes.set(this.bytes.subarray(offset + neuron * strideBytes, offset + (neuron + 1) * strideBytes), this.#ptr);
    if (downOffset !== null) {
      const half = this.bytes.subarray(downOffset + neuron * strideBytes, downOffset + (neuron + 1) * strideBytes);
      bytes.set(half, this.#ptr + strideBytes);
    }
    u32[0] = 0;
    this.#kernels.crc32cSlots(this.#slots + 32, this.#ptr, slotBytes, slotBytes, this.#slots, 1);
    this.#compare(u32[8]!, this.expected[layer]![neuron]!);
  }

  /** As an engine's slots check an expert, piece by piece. @throws {IntegrityError} */
  checkExpert(layer: number, expert: number): void {
    const tensors = this.file.header.experts[layer]!;
    for (const [i, { offset, strideBytes, sizeBytes }] of planExpertSlot(tensors).pieces.entries()) {
      const begin = offset + expert * strideBytes;
      this.#memory().bytes.set(this.bytes.subarray(begin, begin + sizeBytes), this.#ptr);
      const own = this.expected[layer];
      const expected = own ? own[expert]! : expertCrc(this.file.header, tensors.matrices[i]!, expert);
      if (expected !== null) this.#compare(this.#kernels.crc32c(this.#ptr, sizeBytes, 0), expected);
    }
  }

  #memory() {
    const { arena } = this.#kernels;
    return { bytes: arena.bytes, u32: arena.u32(this.#slots, 16) };
  }

  #compare(found: number, expected: number): void {
    if (found >>> 0 !== expected >>> 0) throw new IntegrityError("INTEGRITY_RECORD", "damaged");
  }
}
