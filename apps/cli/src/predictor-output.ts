/** A predictor that a command has made: its file, and what is said of it. */
import { formatBytes, type Predictor, type PredictorLayerShape, type PredictorQuality } from "@flashwick/core";
import { readPredictorFile, writePredictorFile } from "@flashwick/flash-format";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import { predictorBytes } from "@flashwick/predictor";
import { qualityTable, weightType } from "./quality-table.js";
import { table } from "./table.js";

/** A layer's figures, with the type of its weights. */
export interface DescribedLayer extends PredictorQuality {
  readonly dtype: string;
}

/** What commands that make predictors print with `--json`. */
export interface PredictorDocument {
  readonly file: string;
  readonly layers: readonly DescribedLayer[];
  readonly predictorBytes: number;
  readonly fingerprint: string;
}

export async function readPredictor(path: string): Promise<Predictor> {
  const source = await fileSource(path);
  try {
    return await readPredictorFile(source);
  } finally {
    await source.close();
  }
}

/**
 * Writes what `make` gives; an existing file is refused before it is made, and whatever fails leaves nothing.
 *
 * @throws {IoError} `IO_EXISTS`. What `make` throws.
 */
export async function writePredictor(
  output: string,
  force: boolean | undefined,
  make: () => Promise<Predictor>,
): Promise<PredictorDocument> {
  const sink = await fileSink(output, { force: force ?? false });
  try {
    const predictor = await make();
    await writePredictorFile(sink, predictor);
    return describePredictor(output, predictor);
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}

export function describePredictor(file: string, predictor: Predictor): PredictorDocument {
  return {
    file,
    layers: predictor.layers.map(describeLayer),
    predictorBytes: predictor.layers.reduce((sum, layer) => sum + predictorBytes(layer), 0),
    fingerprint: predictor.modelFingerprint,
  };
}

export function describeLayer({ w1, w2, ...quality }: PredictorLayerShape): DescribedLayer {
  return { ...quality, dtype: weightType({ w1, w2 }) };
}

export function predictorText({ file, layers, predictorBytes }: PredictorDocument): string {
  return `${table([["file", `${file}, ${formatBytes(predictorBytes)} of weights`]])}\n\n${qualityTable(layers)}`;
}
