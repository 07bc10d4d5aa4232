/** What a conversion came to. */
import { type Activation, type Architecture, type DType, ffnBytes, hasResidentGate, widestFfn } from "@flashwick/core";
import { columnBytes } from "../column-layout.js";
import { columnsOf, expertBytes, type ModelHeader, type Pruning, recordLayout } from "../model-file.js";
import { prunedShare } from "../pruning.js";
import type { QuantisationLoss } from "../quantisation-loss.js";
import { gateName } from "../resident-tensors.js";

/** What `flashwick convert --json` prints, without time and memory, which the caller measures. */
export interface ConversionResult {
  readonly architecture: Architecture;
  readonly nLayers: number;
  readonly dModel: number;
  /** Of the widest layer. */
  readonly dFf: number;
  /** Heads and activation of the first layer. */
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly activation: Activation;
  /** Of the records; of experts, which may differ, of the first's up projection. */
  readonly dtype: DType;
  readonly layout: "bundled" | "split" | "columns" | "experts";
  /** From one record to the next; by columns, of neurons; of experts, in the first layer that has any. */
  readonly strideBytes: number;
  /** From one record of an input to the next; null but by columns. */
  readonly inputStrideBytes: number | null;
  /** `table`: records stand in an order of their own. */
  readonly placement: "identity" | "table";
  readonly fileBytes: number;
  readonly residentBytes: number;
  readonly ffnBytes: number;
  readonly tokenizer: ModelHeader["tokenizerKind"];
  readonly fingerprint: string;
  /** Type of resident matrices, of the first that is one. */
  readonly residentDtype: DType;
  /** Type of gates that are resident; null where records have them, or neurons have none. */
  readonly gateDtype: DType | null;
  /** What int8 and four bits have cost: relative RMS error of each part; null where nothing was quantised. */
  readonly loss: QuantisationLoss | null;
  /** SHA-256, hex, of the moments by which losses were made up for; null where they were not. */
  readonly calibration: string | null;
  /** Which share of all neurons was left out, and by what; null where none were. */
  readonly pruned: (Pick<Pruning, "trace" | "from"> & { readonly share: number }) | null;
}

/** The result of a conversion, told by the header that was written. */
export function describeConversion(header: ModelHeader, loss: QuantisationLoss | null): ConversionResult {
  const { geometry: g } = header;
  const { attention, ffn } = g.layers[0]!;
  let residentBytes = 0;
  for (const { sizeBytes, scales } of header.tensors.values()) residentBytes += sizeBytes + (scales?.sizeBytes ?? 0);
  return {
    architecture: g.architecture,
    nLayers: g.layers.length,
    dModel: g.dModel,
    dFf: widestFfn(g),
    nHeads: attention.nHeads,
    nKvHeads: attention.nKvHeads,
    vocabSize: g.vocabSize,
    contextLength: g.contextLength,
    activation: ffn.activation,
    ...describeRecords(header),
    placement: header.placement ? "table" : "identity",
    fileBytes: header.fileBytes,
    residentBytes,
    tokenizer: header.tokenizerKind,
    fingerprint: header.fingerprint,
    residentDtype: header.tensors.get("token_embd.weight")?.dtype ?? header.weights.dtype,
    gateDtype: hasResidentGate(header) ? (header.tensors.get(gateName(0))?.dtype ?? null) : null,
    loss,
    calibration: header.calibration ?? null,
    pruned: describePruning(header),
  };
}

function describePruning({ pruned, geometry }: ModelHeader): ConversionResult["pruned"] {
  return pruned ? { share: prunedShare(pruned, geometry), trace: pruned.trace, from: pruned.from } : null;
}

type RecordFacts = Pick<ConversionResult, "dtype" | "layout" | "strideBytes" | "inputStrideBytes" | "ffnBytes">;

function describeRecords(header: ModelHeader): RecordFacts {
  const columns = columnsOf(header);
  if (columns) {
    const { dtype, layout, inputs, outputs } = columns;
    const strides = { strideBytes: outputs.strideBytes, inputStrideBytes: inputs.strideBytes };
    return { dtype, layout, ...strides, ffnBytes: columnBytes(header.geometry, columns) };
  }
  const mixture = header.experts.find((layer) => layer !== null);
  if (mixture) {
    const { strideBytes } = mixture.matrices[0]!;
    return {
      dtype: header.weights.dtype,
      layout: "experts",
      strideBytes,
      inputStrideBytes: null,
      ffnBytes: expertBytes(header),
    };
  }
  const { dtype, layout, strideBytes, slotBytes } = recordLayout(header);
  return { dtype, layout, strideBytes, inputStrideBytes: null, ffnBytes: ffnBytes(header.geometry, { slotBytes }) };
}
