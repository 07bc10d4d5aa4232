/**
 * Predictors trained elsewhere: two matrices a layer, `fc1.weight [r, d_model]` and `fc2.weight [d_ff, r]` with a ReLU between and no biases,
 * which is PowerInfer's form (Song et al., SOSP 2024) and ours. What their thresholds are worth is measured here, on a text.
 *
 * TurboSparse has them inside its checkpoints, `mlp.predictor.fc1.weight`, fed by the residual stream before the norm: pre-norm-predictor.ts.
 */
import { FormatError, InputError, neuronGrid, type Predictor, type PredictorLayer } from "@flashwick/core";
import type { ModelFile } from "@flashwick/flash-format";
import type { TensorFile } from "@flashwick/flash-format/convert";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { fitsPredictorDType, type PredictorDType, quantisePredictorMatrix } from "@flashwick/predictor";
import { chooseCandidates } from "@flashwick/predictor/train";
import { cutWindows } from "../evaluate.js";
import { measureSparsity } from "../measure-sparsity.js";
import type { Model } from "../model.js";
import { assemblePredictor, type CalibrateOptions, measureCandidates, measuringBytes } from "./calibrate-predictor.js";
import { withJudgedModel } from "./judged-model.js";
import { foldNorm, isPreNorm } from "./pre-norm-predictor.js";
import { trainingWindowTokens } from "./training-text.js";

/** A file with weights of a predictor that was trained elsewhere. */
export interface PredictorWeightFile {
  /** For messages, and where tensors have no layer in their names, for the layer: `model_3.pt`. */
  readonly name: string;
  readonly tensors: TensorFile;
}

/** Text and budget that thresholds of imported weights are set with. */
export interface ImportPredictorOptions
  extends Pick<CalibrateOptions, "text" | "maxWindows" | "dramBudgetBytes" | "onProgress" | "signal"> {
  /** How matrices are stored. Default int8. Blocks (`q8_0`, `q4_0`) are for widths and ranks that are multiples of 32. */
  readonly dtype?: PredictorDType;
  /** Neurons named over neurons truly active, on the text: where thresholds are set. Default 2.2. */
  readonly namedPerActive?: number;
}

/** Where a layer's two matrices are: both in one file, or, where a checkpoint is cut into several, in two. */
interface LayerPlace {
  readonly first: PredictorWeightFile;
  readonly second: PredictorWeightFile;
  readonly prefix: string;
}

/**
 * Reads the predictors of all layers and sets their thresholds on a text.
 *
 * Names: `fc1.weight` and `fc2.weight` in a file a layer, whose name's last number is the layer (PowerInfer: `model_0.pt` …); or in any file with a
 * prefix that ends in the layer's number (`blk.0.fc1.weight`, `layers.0.fc1.weight`; what `exportPredictor` writes), or in the number and `mlp.predictor`
 * (TurboSparse's checkpoints: name all their files).
 *
 * @param model Any of the model's file. Its parts are used, and its engine, if it has one, is unloaded.
 * @throws {FormatError} `CHECKPOINT_TENSOR_MISSING`, `CHECKPOINT_TENSOR_SHAPE`, naming file, tensor and layer. {InputError} for a text shorter than
 * a window, weights that cannot be stored, a layer that is there twice. {UnsupportedError} `UNSUPPORTED_FEATURE` for predictors fed before a norm that cannot be
 * folded into them. {BudgetError} with the smallest budget that would do.
 */
export async function importPredictor(
  model: Model,
  files: readonly PredictorWeightFile[],
  { dtype = "int8", namedPerActive = 2.2, ...options }: ImportPredictorOptions,
): Promise<Predictor> {
  const { dModel, dFf } = neuronGrid(model.header.geometry);
  const layers = await readPredictorLayers(model.parts.file, files, dtype);
  const { fingerprint: modelFingerprint } = model.header;
  const predictor: Predictor = { modelFingerprint, dModel, dFf, layers, sparsity: null, training: {} };
  const known = { predictors: [predictor], kernels: createWasmKernels };
  const { dramBudgetBytes } = options;
  const budget = { what: "import", dramBudgetBytes, besideBytes: measuringBytes(model, known), predictor };
  return await withJudgedModel(model, budget, async (judged) => {
    const { curves } = await measureCandidates(await judged.with(predictor), { ...options, ...known });
    const choice = chooseCandidates(curves, { namedPerActive });
    const training = { imported: files.map(({ name }) => name.replace(/^.*[\\/]/, "")), namedPerActive };
    const assembled = { ...assemblePredictor([predictor], curves, choice), training };
    return { ...assembled, sparsity: await useOfText(await judged.with(assembled), assembled, options) };
  });
}

/**
 * The matrices of every layer, as they multiply the FFN's input here; thresholds are 0.
 *
 * @throws As {@link importPredictor}.
 */
export async function readPredictorLayers(
  file: ModelFile,
  files: readonly PredictorWeightFile[],
  dtype: PredictorDType,
): Promise<PredictorLayer[]> {
  const { nLayers, dModel, dFf } = neuronGrid(file.header.geometry);
  const places = findLayers(files, nLayers);
  const layers: PredictorLayer[] = [];
  for (const [layer, place] of places.entries()) {
    layers.push(await readLayer(file, place, layer, { dModel, dFf, dtype }));
  }
  return layers;
}

/** What it names of the text, token after token, for predictions of speed. */
async function useOfText(
  model: Model,
  { layers }: Predictor,
  { text, maxWindows = 64, signal }: ImportPredictorOptions,
): Promise<Predictor["sparsity"]> {
  const { contextLength, bosTokenId } = model.header.geometry;
  const windows = cutWindows(model.tokenizer.encode(text, false), trainingWindowTokens(contextLength), bosTokenId);
  const thresholdByLayer = layers.map(({ threshold }) => threshold);
  const source = "the text of the import";
  return await measureSparsity(model, windows.slice(0, maxWindows), { source, thresholdByLayer, signal });
}

function findLayers(files: readonly PredictorWeightFile[], nLayers: number): LayerPlace[] {
  const places = new Map<number, LayerPlace>();
  for (const file of files) {
    for (const name of file.tensors.shapes.keys()) {
      const match = /^(.*?)fc1\.weight$/.exec(name);
      if (!match) continue;
      const prefix = match[1]!;
      const layer = layerOf(prefix === "" ? file.name : prefix);
      const before = layer === null ? undefined : places.get(layer);
      if (layer === null || layer >= nLayers || before) {
        const found = layer === null ? "no layer's number" : before ? `layer ${layer} twice` : `layer ${layer}`;
        const message = `${file.name}: tensor ${name}: found ${found}, expected one of ${nLayers} layers, each once`;
        throw new InputError("INPUT_INVALID", message, { details: { file: file.name, tensor: name } });
      }
      const second = `${prefix}fc2.weight`;
      const other = prefix === "" ? file : files.find(({ tensors }) => tensors.shapes.has(second));
      places.set(layer, { first: file, second: other ?? file, prefix });
    }
  }
  return Array.from({ length: nLayers }, (_, layer) => {
    const place = places.get(layer);
    if (place) return place;
    throw new FormatError(
      "CHECKPOINT_TENSOR_MISSING",
      `predictors of ${places.size} layers, but none of layer ${layer}: expected fc1.weight and fc2.weight of each of ${nLayers}; name all files`,
      { details: { layer } },
    );
  });
}

/** The last number of a name. */
function layerOf(name: string): number | null {
  const digits = /(\d+)\D*$/.exec(name.replace(/\.(pt|pth|bin|safetensors)$/i, ""))?.[1];
  return digits === undefined ? null : Number(digits);
}

async function readLayer(
  file: ModelFile,
  { first, second, prefix }: LayerPlace,
  layer: number,
  { dModel, dFf, dtype }: { readonly dModel: number; readonly dFf: number; readonly dtype: PredictorDType },
): Promise<PredictorLayer> {
  const [rank = 0] = first.tensors.shapes.get(`${prefix}fc1.weight`)!;
  const w1 = await readMatrix(first, `${prefix}fc1.weight`, layer, { rows: rank, cols: dModel, dtype });
  const w2 = await readMatrix(second, `${prefix}fc2.weight`, layer, { rows: dFf, cols: rank, dtype });
  if (isPreNorm(prefix)) await foldNorm(file, layer, w1);
  return {
    layer,
    rank,
    threshold: 0,
    ...{ trueActiveShare: 0, namedShare: 0, recall: 0, precision: 0, missedMass: 0 },
    w1: quantisePredictorMatrix(w1, rank, dModel, dtype),
    w2: quantisePredictorMatrix(w2, dFf, rank, dtype),
  };
}

async function readMatrix(
  file: PredictorWeightFile,
  name: string,
  layer: number,
  { rows, cols, dtype }: { readonly rows: number; readonly cols: number; readonly dtype: PredictorDType },
): Promise<Float32Array> {
  const found = file.tensors.shapes.get(name);
  if (found && !(found.length === 2 && found[0] === rows && found[1] === cols)) {
    throw new FormatError(
      "CHECKPOINT_TENSOR_SHAPE",
      `${file.name}: tensor ${name} (layer ${layer}): expected shape [${rows}, ${cols}], found [${found.join(", ")}]; it is of another model`,
      { details: { file: file.name, tensor: name, expected: [rows, cols], found } },
    );
  }
  if (!fitsPredictorDType(dtype, cols)) {
    throw new InputError(
      "INPUT_INVALID",
      `${file.name}: tensor ${name} (layer ${layer}): expected rows of a multiple of 32 weights for ${dtype}, found ${cols}; store int8`,
      { details: { file: file.name, tensor: name, dtype, cols } },
    );
  }
  return await file.tensors.read(name);
}
