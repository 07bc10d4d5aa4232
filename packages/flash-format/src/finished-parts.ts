/** Whether what a journal tells of an interrupted run is borne out by the bytes of its file. */
import { type ByteSink, COLUMN_STAGES } from "@flashwick/core";
import { crc32c } from "./crc32c.js";
import {
  type ColumnPlan,
  type ExpertPlan,
  type ModelPlan,
  neuronLayout,
  plannedColumns,
  type RecordPlan,
  recordsName,
} from "./model-layout.js";
import type { FinishedPart } from "./write-journal.js";

/** Bytes read back at once. */
const READ_BACK_BYTES = 4 * 1024 * 1024;

/** Reads back what an unfinished file has of a plan. Cost: a part's bytes are read once. */
export class FinishedParts {
  readonly #sink: ByteSink;
  readonly #plan: ModelPlan;

  constructor(sink: ByteSink, plan: ModelPlan) {
    this.#sink = sink;
    this.#plan = plan;
  }

  /** True if the bytes of a part noted in the journal are there, by their checksums. */
  async isBorneOut({ name, crcs }: FinishedPart): Promise<boolean> {
    const resident = this.#plan.residents.get(name);
    if (resident !== undefined) {
      const tensors = resident.scale === null ? [resident.tensor] : [resident.tensor, resident.scale];
      return await this.#allMatch(tensors, crcs);
    }
    const isNamed = ({ layer }: RecordPlan | ColumnPlan | ExpertPlan) => recordsName(layer) === name;
    const records = this.#plan.records.find(isNamed);
    if (records) return (await this.#allMatch([records.checksums], crcs)) && (await this.#neuronsMatch(records));
    const columns = this.#plan.columns.find(isNamed);
    if (columns) {
      const checksums = COLUMN_STAGES.map((stage) => columns[stage].checksums);
      return (await this.#allMatch(checksums, crcs)) && (await this.#columnsMatch(columns));
    }
    const experts = this.#plan.experts.find(isNamed);
    return Boolean(experts && (await this.#allMatch([experts.checksums], crcs)) && (await this.#expertsMatch(experts)));
  }

  async #allMatch(tensors: readonly number[], crcs: readonly number[]): Promise<boolean> {
    if (tensors.length !== crcs.length) return false;
    for (const [i, tensor] of tensors.entries()) {
      const { offset, sizeBytes } = this.#plan.container.tensors[tensor]!;
      if ((await this.#readBackCrc(offset, sizeBytes)) !== crcs[i]) return false;
    }
    return true;
  }

  async #readBackCrc(offset: number, sizeBytes: number): Promise<number> {
    const buffer = new Uint8Array(Math.min(READ_BACK_BYTES, sizeBytes));
    let crc = 0;
    for (let at = 0; at < sizeBytes; at += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, sizeBytes - at));
      await this.#sink.read(part, offset + at);
      crc = crc32c(part, crc);
    }
    return crc;
  }

  async #neuronsMatch({ checksums, records, downRecords }: RecordPlan): Promise<boolean> {
    const { strideBytes } = neuronLayout(this.#plan);
    return await this.#recordsMatch(checksums, [records, ...(downRecords === null ? [] : [downRecords])], strideBytes);
  }

  async #columnsMatch(plan: ColumnPlan): Promise<boolean> {
    const weights = plannedColumns(this.#plan);
    for (const stage of COLUMN_STAGES) {
      const { checksums, records } = plan[stage];
      if (!(await this.#recordsMatch(checksums, [records], weights[stage].strideBytes))) return false;
    }
    return true;
  }

  /** @param tensors That a record's parts lie in, one behind the other. */
  async #recordsMatch(checksums: number, tensors: readonly number[], strideBytes: number): Promise<boolean> {
    const crcs = await this.#readChecksums(checksums);
    const all = crcs.length;
    const batch = Math.max(1, Math.floor(READ_BACK_BYTES / strideBytes));
    const buffer = new Uint8Array(Math.min(batch, all) * strideBytes);
    const found = new Uint32Array(all);
    for (const tensor of tensors) {
      for (let begin = 0; begin < all; begin += batch) {
        const count = Math.min(batch, all - begin);
        await this.#sink.read(buffer.subarray(0, count * strideBytes), this.#offsetOf(tensor) + begin * strideBytes);
        for (let i = 0; i < count; i++) {
          found[begin + i] = crc32c(buffer.subarray(i * strideBytes, (i + 1) * strideBytes), found[begin + i]!);
        }
      }
    }
    return found.every((crc, record) => crc === crcs[record]);
  }

  async #expertsMatch({ checksums, records, record: { strideBytes } }: ExpertPlan): Promise<boolean> {
    for (const [expert, crc] of (await this.#readChecksums(checksums)).entries()) {
      const offset = this.#offsetOf(records) + expert * strideBytes;
      if ((await this.#readBackCrc(offset, strideBytes)) !== crc) return false;
    }
    return true;
  }

  async #readChecksums(tensor: number): Promise<Uint32Array> {
    const { offset, sizeBytes } = this.#plan.container.tensors[tensor]!;
    const bytes = new Uint8Array(sizeBytes);
    await this.#sink.read(bytes, offset);
    return new Uint32Array(bytes.buffer);
  }

  #offsetOf(tensor: number): number {
    return this.#plan.container.tensors[tensor]!.offset;
  }
}
