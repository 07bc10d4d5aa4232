/** `flashwick inspect`: what a model or predictor file says about itself. */
import { COLUMN_STAGES, columnCounts, formatBytes, widestFfn } from "@flashwick/core";
import {
  bytesOfExpert,
  type ChecksumHeader,
  columnsOf,
  type ExpertTensors,
  type ModelChecksums,
  type ModelHeader,
  type MomentsHeader,
  openModelFile,
  type PredictorHeader,
  type Pruning,
  prunedShare,
  readChecksumHeader,
  readFileKind,
  readMomentsHeader,
  readPredictorHeader,
  summariseModelFile,
  withChecksumsBeside,
} from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { describeLayer } from "../predictor-output.js";
import { qualityTable } from "../quality-table.js";
import type { CommonFlags } from "../report.js";
import { percent, table } from "../table.js";

export function inspectCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "inspect",
    summary: "Show what a model file or a predictor file says about itself; reads its header only.",
    example: "flashwick inspect opt-demo.gguf",
  })
    .argument("<file.gguf>", "model file or predictor file")
    .action(async (path: string, flags: CommonFlags) => {
      invocation.exitStatus = await inspect(invocation, path, flags);
    });
}

function inspect({ terminal }: Invocation, path: string, flags: CommonFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const source = await fileSource(path);
    try {
      const kind = await readFileKind(source);
      if (kind === "predictor") {
        const header = await readPredictorHeader(source);
        report.result(predictorDocument(path, header), () => predictorText(path, header));
      } else if (kind === "checksums") {
        const header = await readChecksumHeader(source);
        report.result({ kind, file: path, ...header }, () => checksumText(path, header));
      } else if (kind === "moments") {
        const header = await readMomentsHeader(source);
        report.result({ kind, file: path, ...header }, () => momentsText(path, header));
      } else {
        const { header } = await withChecksumsBeside(await openModelFile(source));
        report.result(modelDocument(path, header), () => modelText(path, header));
      }
    } finally {
      await source.close();
    }
    return undefined;
  });
}

/** Everything but the tokenizer's text, which is as long as a book. */
function modelDocument(file: string, header: ModelHeader) {
  const { tensors, ...sizes } = summariseModelFile(header);
  const { geometry } = header;
  const { attention, ffn } = geometry.layers[0]!;
  const { nHeads, nKvHeads, headDim } = attention;
  return {
    kind: "model",
    file,
    fingerprint: header.fingerprint,
    geometry: {
      nLayers: geometry.layers.length,
      dFf: widestFfn(geometry),
      ...{ nHeads, nKvHeads, headDim, activation: ffn.activation },
      ...geometry,
    },
    weights: header.weights,
    tokenizer: header.tokenizerKind,
    calibration: header.calibration ?? null,
    pruned: header.pruned ? { ...header.pruned, share: prunedShare(header.pruned, geometry) } : null,
    dataOffset: header.dataOffset,
    ...sizes,
    tensors,
    records: header.records,
    columns: header.columns,
    experts: header.experts,
    checksumsBeside: header.checksums ? checksumFacts(header.checksums) : null,
    metadata: Object.fromEntries(header.metadata),
  };
}

function checksumFacts({ groupBytes, byTensor }: ModelChecksums) {
  return { groupBytes, checksums: [...byTensor.values()].reduce((sum, { length }) => sum + length, 0) };
}

function layoutText(header: ModelHeader): [string, string] {
  const { weights: w } = header;
  switch (w.layout) {
    case "matrices":
      return ["matrices", `as llama.cpp has them, up to ${w.slotBytes} bytes a neuron; ${besideText(header)}`];
    case "experts":
      return ["experts", expertsText(header)];
    case "columns": {
      const { inputs, outputs } = w;
      return ["records", `columns, stride ${inputs.strideBytes} bytes an input, ${outputs.strideBytes} bytes a neuron`];
    }
    default:
      return ["records", `${w.layout}, stride ${w.strideBytes} bytes, ${w.slotBytes} bytes a neuron`];
  }
}

/** Of the first mixture. */
function expertsText(header: ModelHeader): string {
  const layer = header.geometry.layers.findIndex(({ experts }) => experts);
  const { count, chosen, shared } = header.geometry.layers[layer]!.experts!;
  const { recordChecks } = header.experts[layer]!;
  const where = recordChecks ? "one record each" : `as llama.cpp has them; ${besideText(header)}`;
  const beside = shared ? ", beside a shared one" : "";
  return `${chosen} of ${count} a token${beside}, ${formatBytes(bytesOfExpert(header.experts[layer]!))} each, ${where}`;
}

const PLURAL_OF_UNIT = {
  matrices: "  layers",
  experts: "  experts",
  bundled: "  neurons",
  split: "  neurons",
  columns: "  columns",
} as const;

function besideText({ checksums, weights }: ModelHeader): string {
  if (!checksums) return "no checksums";
  const { groupBytes, checksums: count } = checksumFacts(checksums);
  const ofExperts = weights.layout === "experts" ? " or a matrix of an expert" : "";
  return `${count} checksums beside it, one for ${formatBytes(groupBytes)}${ofExperts}`;
}

/** Of both kinds. */
function columnRows(header: ModelHeader): (string | number)[][] {
  const weights = columnsOf(header);
  if (!weights) return [];
  const { dModel, layers } = header.geometry;
  return header.columns.flatMap((tensors, layer) => {
    const counts = columnCounts(dModel, layers[layer]!);
    return COLUMN_STAGES.map((stage) => [
      `blk.${layer} columns`,
      weights.dtype,
      `${counts[stage]} ${stage === "inputs" ? "inputs" : "neurons"}`,
      tensors[stage].offset,
      counts[stage] * weights[stage].strideBytes,
    ]);
  });
}

function checksumText(file: string, { modelFingerprint, modelBytes, groupBytes, fileBytes }: ChecksumHeader): string {
  return table([
    ["file", file],
    ["checksums of", modelFingerprint],
    ["model", formatBytes(modelBytes)],
    ["one for", formatBytes(groupBytes)],
    ["size", formatBytes(fileBytes)],
  ]);
}

function momentsText(file: string, { modelFingerprint, tokens, dModel, dFf, fileBytes }: MomentsHeader): string {
  return table([
    ["file", file],
    ["moments of", modelFingerprint],
    ["text", `${tokens} tokens`],
    ["layers", `${dFf.length} of ${[...new Set(dFf)].join(", ")} neurons, d_model ${dModel}`],
    ["size", formatBytes(fileBytes)],
  ]);
}

function predictorDocument(file: string, { modelFingerprint, metadata, layers, ...header }: PredictorHeader) {
  const facts = { fingerprint: modelFingerprint, layers: layers.map(describeLayer), ...header };
  return { kind: "predictor", file, ...facts, metadata: Object.fromEntries(metadata) };
}

function modelText(file: string, header: ModelHeader): string {
  const { geometry: g, weights: w, fingerprint, tokenizerKind } = header;
  const sizes = summariseModelFile(header);
  const { attention, ffn } = g.layers[0]!;
  const share = (bytes: number) => `${formatBytes(bytes)}  (${percent(bytes / sizes.fileBytes)})`;
  const facts = table([
    ["file", file],
    [
      "model",
      `${g.architecture}, ${g.layers.length} layers, d_model ${g.dModel}, d_ff ${widestFfn(g)}, ${ffn.activation}`,
    ],
    [
      "attention",
      `${attention.nHeads} heads of ${attention.headDim}, ${attention.nKvHeads} for keys and values, context ${g.contextLength} tokens`,
    ],
    ["vocabulary", `${g.vocabSize} tokens, tokenizer ${tokenizerKind ?? "none"}`],
    ["weights", `${(sizes.parameters / 1e6).toFixed(2)} M, ${w.dtype}`],
    layoutText(header),
    ...(header.calibration ? [["calibrated", `by the moments ${header.calibration.slice(0, 12)}…`]] : []),
    ...(header.pruned ? [["left out", prunedText(header.pruned, g)]] : []),
    ["size", formatBytes(sizes.fileBytes)],
    [PLURAL_OF_UNIT[w.layout], share(sizes.ffnBytes)],
    ["  resident", share(sizes.residentBytes)],
    ["  checksums", share(sizes.checksumBytes)],
    ["  header", share(sizes.headerBytes)],
    ["  padding", share(sizes.paddingBytes)],
    ["fingerprint", fingerprint],
  ]);
  const tensors = table([
    ["tensor", "type", "shape", "offset", "bytes"],
    ...sizes.tensors.map((t) => [t.name, t.dtype, `${t.rows} × ${t.cols}`, t.offset, t.sizeBytes]),
    ...header.records.map(({ layer, offset }) => [
      `blk.${layer} records`,
      w.dtype,
      `${g.layers[layer]!.ffn.dFf} neurons`,
      offset,
      g.layers[layer]!.ffn.dFf * w.slotBytes,
    ]),
    ...columnRows(header),
    ...header.experts.flatMap((experts, layer) => (experts ? expertRows(layer, experts) : [])),
  ]);
  return `${facts}\n\n${tensors}`;
}

function prunedText(pruned: Pruning, { layers }: ModelHeader["geometry"]): string {
  const widths = layers.map(({ ffn }, layer) => `${ffn.dFf} of ${pruned.neurons[layer]}`);
  return `${percent(prunedShare(pruned, { layers }))} of the neurons of ${pruned.from.slice(0, 12)}…, by the trace ${pruned.trace.slice(0, 12)}…; by layer ${widths.join(", ")} stay`;
}

/** A row for each matrix of a layer's experts. */
function expertRows(layer: number, { count, matrices }: ExpertTensors): (string | number)[][] {
  return matrices.map(({ role, dtype, rows, cols, offset, sizeBytes }) => [
    `blk.${layer} experts, ${role}`,
    dtype,
    `${count} × ${rows} × ${cols}`,
    offset,
    count * sizeBytes,
  ]);
}

function predictorText(file: string, header: PredictorHeader): string {
  const facts = table([
    ["file", file],
    ["predictor of", header.modelFingerprint],
    ["shape", `${header.layers.length} layers, d_model ${header.dModel}, d_ff ${header.dFf}`],
    ["size", `${formatBytes(header.fileBytes)}, ${formatBytes(header.weightBytes)} of it weights`],
    ["training", JSON.stringify(header.training)],
  ]);
  return `${facts}\n\n${qualityTable(header.layers.map(describeLayer))}`;
}
