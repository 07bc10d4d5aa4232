/** The records of one layer that is read by columns, encoded and written as they come; what they come to, until the layer is whole. */
import { assert, type ColumnLayout, type ColumnStage } from "@flashwick/core";
import type { ColumnPlan } from "./model-layout.js";
import type { ColumnRows } from "./model-writer.js";
import { LossTally } from "./quantisation-loss.js";
import { RecordEncoder, type UnstorableWeight } from "./record-encoder.js";

/** Bytes encoded and written at once, at least one record. */
const ENCODE_BYTES = 1024 * 1024;

/** Writes bytes of a stage's records at an offset from their first. */
export type WriteStage = (stage: ColumnStage, bytes: Uint8Array, at: number) => Promise<void>;

export class ColumnWriter {
  readonly tally = new LossTally();
  /** CRC-32C of each record. */
  readonly crcs: Readonly<Record<ColumnStage, Uint32Array>>;
  /** Records written so far. */
  readonly done: Record<ColumnStage, number> = { inputs: 0, outputs: 0 };
  readonly #plan: ColumnPlan;
  readonly #weights: ColumnLayout;
  readonly #write: WriteStage;
  readonly #encoders: Readonly<Record<ColumnStage, RecordEncoder>>;

  constructor(plan: ColumnPlan, weights: ColumnLayout, write: WriteStage) {
    this.#plan = plan;
    this.#weights = weights;
    this.#write = write;
    this.crcs = { inputs: new Uint32Array(plan.inputs.count), outputs: new Uint32Array(plan.outputs.count) };
    this.#encoders = { inputs: encoderOf(weights, "inputs"), outputs: encoderOf(weights, "outputs") };
  }

  /**
   * The next records of a stage.
   *
   * @returns Null, or the first weight that cannot be stored; its `neuron` is the record's number in the layer.
   */
  async writeRows(stage: ColumnStage, rows: ColumnRows): Promise<UnstorableWeight | null> {
    const { width, parts, strideBytes } = this.#weights[stage];
    const count = (rows[parts[0]!.role]?.length ?? 0) / width;
    const isWhole = Number.isInteger(count) && parts.every(({ role }) => rows[role]?.length === count * width);
    assert(isWhole, `layer ${this.#plan.layer}: ${parts.map(({ role }) => role).join(", ")} are [n, ${width}] each`);
    assert(this.done[stage] + count <= this.#plan[stage].count, `${this.#plan[stage].count} ${stage}`);
    const encoder = this.#encoders[stage];
    for (let begin = 0; begin < count; begin += encoder.capacity) {
      const end = Math.min(begin + encoder.capacity, count);
      const first = this.done[stage];
      const crcs = this.crcs[stage].subarray(first, first + end - begin);
      const some = parts.map(({ role }) => [role, rows[role]!.subarray(begin * width, end * width)]);
      const unstorable = encoder.encode(Object.fromEntries(some), crcs, this.tally);
      if (unstorable) return { ...unstorable, neuron: first + unstorable.neuron };
      await this.#write(stage, encoder.records(end - begin), first * strideBytes);
      this.done[stage] += end - begin;
    }
    return null;
  }

  /** @throws {FlashwickError} if a record was not written. */
  assertWhole(): void {
    for (const stage of ["inputs", "outputs"] as const) {
      const { count } = this.#plan[stage];
      assert(this.done[stage] === count, `layer ${this.#plan.layer}: ${this.done[stage]} of ${count} ${stage} written`);
    }
  }
}

function encoderOf(weights: ColumnLayout, stage: ColumnStage): RecordEncoder {
  const { strideBytes, width, parts } = weights[stage];
  const capacity = Math.max(1, Math.floor(ENCODE_BYTES / strideBytes));
  return new RecordEncoder({ dtype: weights.dtype, layout: "bundled", strideBytes, parts }, width, capacity);
}
