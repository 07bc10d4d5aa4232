/**
 * The header that a model file would have, decided before there is a weight: what a model will need can be told from its config.json.
 * Checksums and fingerprint are those of nothing.
 */
import { COLUMN_STAGES, type ConvertDType, type DType, type ModelGeometry, type ResidentDType } from "@flashwick/core";
import { expertLayout, expertTensors } from "./expert-record.js";
import { BLANK_FINGERPRINT } from "./fingerprint.js";
import type { ColumnTensors, ModelHeader, RecordTensor, ResidentTensor } from "./model-file.js";
import { expertRecordsName, type ModelPlan, planModelFile } from "./model-layout.js";

/** How a file that is yet to be made would store its weights. */
export interface PlannedForm {
  readonly dtype: ConvertDType;
  /** Of a mixture whose experts are of many types: by layer, of gate, up and down; none of a dense layer. */
  readonly expertDTypes?: readonly (readonly DType[])[] | null;
  readonly residentDtype?: ResidentDType | null;
  /** Of gates that stay in DRAM. Default null: records have them. */
  readonly gateDtype?: ResidentDType | null;
  readonly layout?: "bundled" | "split" | "columns";
  readonly strideBytes?: "auto" | number;
}

/**
 * The header of the file that `convertCheckpoint` would write for this geometry, but for the tokenizer that it carries.
 *
 * @throws {InputError} `INPUT_INVALID` for a stride that cannot be. {UnsupportedError} `UNSUPPORTED_ARCHITECTURE`;
 *   `UNSUPPORTED_FEATURE` for an int8 matrix that is too wide, and for what experts are not stored as.
 */
export function planHeader(geometry: ModelGeometry, form: PlannedForm): ModelHeader {
  const plan = planModelFile({
    geometry,
    dtype: form.dtype,
    expertDTypes: form.expertDTypes ?? null,
    residentDtype: form.residentDtype ?? null,
    gateDtype: form.gateDtype ?? null,
    layout: form.layout ?? "bundled",
    strideBytes: form.strideBytes ?? "auto",
    tokenizerJson: null,
    tokenizerKind: null,
    name: "planned",
  });
  const place = (index: number) => {
    const { offset, sizeBytes } = plan.container.tensors[index]!;
    return { offset, sizeBytes, crc32c: 0 };
  };
  const tensors = new Map<string, ResidentTensor>();
  for (const [name, { shape, dtype, tensor, scale }] of plan.residents) {
    tensors.set(name, { ...shape, dtype, ...place(tensor), scales: scale === null ? null : place(scale) });
  }
  const records = plan.records.map(
    ({ layer, records: first, downRecords, checksums }): RecordTensor => ({
      layer,
      offset: place(first).offset,
      downOffset: downRecords === null ? null : place(downRecords).offset,
      crcOffset: place(checksums).offset,
      crcOfCrcs: 0,
    }),
  );
  const experts = plannedExperts(plan);
  return {
    geometry,
    weights: plan.weights.layout === "experts" ? expertLayout(experts) : plan.weights,
    tensors,
    records,
    columns: plannedColumns(plan),
    matrices: [],
    experts,
    placement: null,
    fingerprint: BLANK_FINGERPRINT,
    tokenizerJson: null,
    tokenizerKind: null,
    fileBytes: plan.container.fileBytes,
    dataOffset: plan.container.dataOffset,
    values: new Map(),
    metadata: new Map(),
  };
}

function plannedColumns({ columns, container: { tensors } }: ModelPlan): ColumnTensors[] {
  return columns.map((plan) => {
    const stages = COLUMN_STAGES.map((stage) => {
      const { records, checksums } = plan[stage];
      const [offset, crcOffset] = [tensors[records]!.offset, tensors[checksums]!.offset];
      return [stage, { offset, crcOffset, crcOfCrcs: 0 }] as const;
    });
    return Object.fromEntries(stages) as ColumnTensors;
  });
}

function plannedExperts({ weights, experts, container: { tensors } }: ModelPlan): ModelHeader["experts"] {
  if (weights.layout !== "experts") return [];
  return weights.byLayer.map((_, index) => {
    const plan = experts.find(({ layer }) => layer === index);
    if (!plan) return null;
    const checks = { crcOffset: tensors[plan.checksums]!.offset, crcOfCrcs: 0 };
    return expertTensors(plan, expertRecordsName(index), tensors[plan.records]!.offset, checks);
  });
}
