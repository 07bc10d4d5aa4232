/** A checkpoint and its predictor become two files of a larger geometry: the acting part, in Node. */
import { IntegrityError, type OnProgress, type Predictor, type RecordDType } from "@flashwick/core";
import {
  createModelWriter,
  type ModelHeader,
  readPredictorFile,
  sidecarPath,
  writePredictorFile,
} from "@flashwick/flash-format";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import { type GeometryScale, layerWeights, planScale, type TargetSize } from "./geometry-scale.js";
import { scaledSpec, writeScaledModel } from "./scaled-model.js";
import { paperRankFactor, scalePredictor } from "./scaled-predictor.js";
import { openSourceModel, type SourceModel } from "./source-model.js";

export interface ScaleOptions {
  readonly checkpointDir: string;
  /** The checkpoint's predictor; null makes none. */
  readonly predictorPath: string | null;
  readonly size: TargetSize;
  readonly dtype: RecordDType;
  readonly layout: "bundled" | "split";
  readonly outPath: string;
  /** Copies of each hidden unit of the predictor; null: as many as make it the paper's share of the model. */
  readonly rankFactor: number | null;
  readonly seed: number;
  readonly force: boolean;
  /** Phase "scale", a step a tensor. */
  readonly onProgress?: OnProgress;
}

/** What was made. The predictor's fields are null if there is none. */
export interface ScaleResult {
  readonly model: string;
  readonly fingerprint: string;
  readonly fileBytes: number;
  /** Weights of attention and FFN in all layers. */
  readonly layerWeights: number;
  readonly predictor: string | null;
  readonly rankFactor: number | null;
  readonly meanRank: number | null;
  /** Weights of the predictor for each weight of the layers. */
  readonly predictorShare: number | null;
}

/**
 * Makes the model file and, beside it, the predictor.
 *
 * @throws {InputError} {UnsupportedError} for a size or a checkpoint that cannot be scaled. {IoError} `IO_EXISTS`, `IO_NO_SPACE`.
 *   {IntegrityError} `INTEGRITY_FINGERPRINT` for a predictor of another checkpoint. Then nothing is left.
 */
export async function scaleCheckpoint(options: ScaleOptions): Promise<ScaleResult> {
  const { outPath, size, force } = options;
  const source = await openSourceModel(options.checkpointDir);
  const scale = planScale(source.header.geometry, size);
  const predictor = await readPredictor(options.predictorPath, source.header.fingerprint);
  const sidecar = predictor && (await fileSink(sidecarPath(outPath), { force }));
  try {
    const header = await writeModel(source, scale, options);
    const scaled = predictor && scaledBy(predictor, scale, header.fingerprint, options);
    if (sidecar !== null && scaled !== null) await writePredictorFile(sidecar, scaled.predictor);
    return describe(header, scaled, options);
  } catch (error) {
    await sidecar?.abandon();
    throw error;
  }
}

async function writeModel(source: SourceModel, scale: GeometryScale, options: ScaleOptions): Promise<ModelHeader> {
  const { outPath, force, seed, onProgress } = options;
  const sink = await fileSink(outPath, { force });
  const sourceIdentity = `${source.header.fingerprint}, seed ${seed}`;
  const writer = await createModelWriter(sink, scaledSpec(source, scale, options), {
    journal: sink.journal,
    sourceIdentity,
  });
  return await writeScaledModel(writer, source, scale, seed, onProgress);
}

interface ScaledPredictor {
  readonly predictor: Predictor;
  readonly rankFactor: number;
}

function scaledBy(
  predictor: Predictor,
  scale: GeometryScale,
  fingerprint: string,
  { rankFactor: wanted, seed }: ScaleOptions,
): ScaledPredictor {
  const rankFactor = wanted ?? paperRankFactor(scale, predictor);
  return { predictor: scalePredictor(predictor, scale, fingerprint, rankFactor, seed), rankFactor };
}

async function readPredictor(path: string | null, fingerprint: string): Promise<Predictor | null> {
  if (path === null) return null;
  const source = await fileSource(path);
  try {
    const predictor = await readPredictorFile(source);
    if (predictor.modelFingerprint === fingerprint) return predictor;
    throw new IntegrityError(
      "INTEGRITY_FINGERPRINT",
      `${path}: expected the predictor of model ${fingerprint}, found one of ${predictor.modelFingerprint}; give the checkpoint's own, or none`,
      { details: { path, expected: fingerprint, found: predictor.modelFingerprint } },
    );
  } finally {
    await source.close();
  }
}

function describe(header: ModelHeader, scaled: ScaledPredictor | null, { outPath }: ScaleOptions): ScaleResult {
  const weights = layerWeights(header.geometry);
  return {
    model: outPath,
    fingerprint: header.fingerprint,
    fileBytes: header.fileBytes,
    layerWeights: weights,
    predictor: scaled && sidecarPath(outPath),
    rankFactor: scaled?.rankFactor ?? null,
    meanRank: scaled && mean(scaled.predictor.layers.map(({ rank }) => rank)),
    predictorShare: scaled && predictorWeights(scaled.predictor) / weights,
  };
}

function predictorWeights({ layers, dModel, dFf }: Predictor): number {
  return layers.reduce((sum, { rank }) => sum + rank * (dModel + dFf), 0);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
