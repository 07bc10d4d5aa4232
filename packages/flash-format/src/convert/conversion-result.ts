/** What a conversion came to. */
import { type Activation, type Architecture, type DType, ffnBytes, type RecordDType, widestFfn } from "@flashwick/core";
import { type ModelHeader, recordLayout } from "../model-file.js";
import type { QuantisationLoss } from "../quantisation-loss.js";

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
  readonly dtype: RecordDType;
  readonly layout: "bundled" | "split";
  readonly strideBytes: number;
  /** `table`: records stand in an order of their own. */
  readonly placement: "identity" | "table";
  readonly fileBytes: number;
  readonly residentBytes: number;
  readonly ffnBytes: number;
  readonly tokenizer: ModelHeader["tokenizerKind"];
  readonly fingerprint: string;
  /** Type of resident matrices, of the first that is one. */
  readonly residentDtype: DType;
  /** What int8 and four bits have cost: relative RMS error of each part; null where nothing was quantised. */
  readonly loss: QuantisationLoss | null;
}

/** The result of a conversion, told by the header that was written. */
export function describeConversion(header: ModelHeader, loss: QuantisationLoss | null): ConversionResult {
  const { geometry: g } = header;
  const weights = recordLayout(header);
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
    dtype: weights.dtype,
    layout: weights.layout,
    strideBytes: weights.strideBytes,
    placement: header.placement ? "table" : "identity",
    fileBytes: header.fileBytes,
    residentBytes,
    ffnBytes: ffnBytes(g, weights),
    tokenizer: header.tokenizerKind,
    fingerprint: header.fingerprint,
    residentDtype: header.tensors.get("token_embd.weight")?.dtype ?? weights.dtype,
    loss,
  };
}
