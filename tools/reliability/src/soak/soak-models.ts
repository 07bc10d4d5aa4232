/** The models of a soak, as files: with neurons and a predictor, a mixture of experts, and a gate; small enough for many thousand tokens. */
import { copyFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { neuronGrid, type Predictor, Random } from "@flashwick/core";
import { demoModels, mixtureDemo } from "@flashwick/demo-models";
import {
  createModelWriter,
  type ModelHeader,
  openModelFile,
  sidecarPath,
  writePredictorFile,
} from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import { quantisePredictorMatrix } from "@flashwick/predictor";
import type { OpenModelOptions } from "@flashwick/runtime/node";

/** A model of a soak. */
export interface SoakModel {
  readonly name: string;
  readonly path: string;
  /** Ids of tokens that prompts are made of lie below. */
  readonly vocabSize: number;
  /** Whether a dense pass may verify what a predictor drafts. */
  readonly isPredicted: boolean;
  /** Of the tokens of a round. */
  readonly share: number;
  readonly options: OpenModelOptions;
}

/** Where a model comes from, and how it is opened. */
interface Recipe {
  readonly name: string;
  readonly checkpoint: string;
  readonly dtype: "f16" | "f32";
  /** A predictor's file; `noise`: one that names about half of the neurons and misses many; null: none. */
  readonly predictor: string | "noise" | null;
  /** Of the file, for weights, caches, keys and values together. */
  readonly budgetShare: number | null;
  readonly share: number;
  readonly options: OpenModelOptions;
}

/** Tokens of every sequence, and sequences at once. */
export const CONTEXT_TOKENS = 128;
export const MAX_SEQUENCES = 4;
const NOISE_RANK = 8;

const DEMOS: readonly Recipe[] = [
  {
    ...{
      name: "opt-demo",
      checkpoint: demoModels["opt-demo"].checkpointDir,
      dtype: "f16",
      budgetShare: 0.75,
      share: 1,
    },
    ...{ predictor: demoModels["opt-demo"].predictorPath, options: { threads: 1, readers: 0 } },
  },
  {
    ...{ name: "olmoe-demo", checkpoint: mixtureDemo.checkpointDir, dtype: "f16", budgetShare: 0.6, share: 1 },
    ...{ predictor: null, options: { threads: 1, readers: 2 } },
  },
];
const fixture = (name: string) =>
  join(findRoot(dirname(fileURLToPath(import.meta.url))), "packages/runtime/fixtures", name);
const TINIES: readonly Recipe[] = [
  {
    ...{ name: "llama-tiny-relu", checkpoint: fixture("llama-tiny-relu"), dtype: "f32", budgetShare: null },
    // Threads that compute wait for each other in every product: on a machine with other work to do each token takes long.
    ...{ predictor: "noise", share: 0.1, options: { threads: 2, readers: 0 } },
  },
  {
    ...{ name: "mixtral-tiny", checkpoint: fixture("mixtral-tiny"), dtype: "f32", budgetShare: null },
    ...{ predictor: null, share: 1, options: { threads: 1, readers: 2 } },
  },
];

/** Which models: the demos, which are trained, and the tiny ones; or the tiny ones alone, for tests. */
export type SoakCast = "all" | "tiny";

/** Converts the models into a folder. */
export async function makeSoakModels(folder: string, cast: SoakCast): Promise<SoakModel[]> {
  const recipes = cast === "tiny" ? TINIES : [...DEMOS, ...TINIES];
  const models: SoakModel[] = [];
  for (const recipe of recipes) models.push(await makeModel(folder, recipe));
  return models;
}

async function makeModel(folder: string, recipe: Recipe): Promise<SoakModel> {
  const path = join(folder, `${recipe.name}.gguf`);
  const checkpoint = await openCheckpointFolder(recipe.checkpoint);
  const sink = await fileSink(path);
  await convertCheckpoint(checkpoint, (spec) => createModelWriter(sink, spec), { dtype: recipe.dtype });
  const source = await fileSource(path);
  const { header } = await openModelFile(source);
  await source.close();
  if (recipe.predictor === "noise") await writeNoise(sidecarPath(path), header);
  else if (recipe.predictor !== null) copyFileSync(recipe.predictor, sidecarPath(path));
  const budget =
    recipe.budgetShare === null ? {} : { dramBudgetBytes: Math.floor(recipe.budgetShare * header.fileBytes) };
  return {
    ...{ name: recipe.name, path, vocabSize: header.geometry.vocabSize, isPredicted: recipe.predictor !== null },
    share: recipe.share,
    options: {
      ...{ contextTokens: CONTEXT_TOKENS, maxSequences: MAX_SEQUENCES, kvPrecision: "f16", profile: null },
      ...budget,
      ...recipe.options,
    },
  };
}

async function writeNoise(path: string, header: ModelHeader): Promise<void> {
  const sink = await fileSink(path);
  await writePredictorFile(sink, noisePredictor(header));
}

function noisePredictor({ fingerprint, geometry }: ModelHeader): Predictor {
  const { nLayers, dModel, dFf } = neuronGrid(geometry);
  const random = new Random(7);
  const matrix = (rows: number, cols: number) => {
    const values = Float32Array.from({ length: rows * cols }, () => random.uniform() - 0.5);
    return quantisePredictorMatrix(values, rows, cols, "int8");
  };
  const quality = { trueActiveShare: 0.5, namedShare: 0.5, recall: 0.5, precision: 0.5, missedMass: 0.5 };
  return {
    ...{ modelFingerprint: fingerprint, dModel, dFf, sparsity: null, training: {} },
    layers: Array.from({ length: nLayers }, (_, layer) => ({
      ...{ ...quality, layer, rank: NOISE_RANK, threshold: 0 },
      ...{ w1: matrix(NOISE_RANK, dModel), w2: matrix(dFf, NOISE_RANK) },
    })),
  };
}

function findRoot(folder: string): string {
  return existsSync(join(folder, "pnpm-workspace.yaml")) ? folder : findRoot(dirname(folder));
}
