/**
 * Synthetic samples for tests: a planted layer whose neurons fire on known directions of x, so that a low-rank predictor can
 * learn all of it. x[0] is 1, as the mean of a normed activation is in effect, and stands in for a bias.
 */
import { Random } from "@flashwick/core";
import { BatchRecorder } from "./batch-recorder.js";
import { isHeldOut } from "./document-split.js";
import { MemorySampleStore } from "./memory-sample-store.js";
import type { SampleShape, SampleStore } from "./sample-store.js";

export const FIXTURE_SHAPE: SampleShape = { nLayers: 2, dModel: 16, dFf: 32 };
const DOCUMENT_TOKENS = 50;
/** x varies in this many directions only: the rank that a predictor needs. */
const DIRECTIONS = 4;

/** The documents `from … to − 1`, appended and then committed. */
export function recordDocuments(
  store: Pick<SampleStore, "shape" | "append" | "commit">,
  from: number,
  to: number,
  isHeld = held,
): void {
  const { dModel, dFf, nLayers } = store.shape;
  const recorder = new BatchRecorder(store.shape, DOCUMENT_TOKENS);
  for (let document = from; document < to; document++) {
    for (let layer = 0; layer < nLayers; layer++) {
      const x = plantInputs(store.shape, document, layer);
      const act = plantActivations(store.shape, x, layer);
      recorder.begin(DOCUMENT_TOKENS, isHeld(document));
      recorder.input(x, dModel);
      recorder.activations(0, dFf / 2, act, dFf);
      recorder.activations(dFf / 2, dFf / 2, act.subarray(dFf / 2), dFf);
      store.append(layer, recorder.end());
    }
  }
  store.commit(to);
}

export function fixtureSamples(documents: number, shape = FIXTURE_SHAPE): MemorySampleStore {
  const store = new MemorySampleStore(shape);
  recordDocuments(store, 0, documents);
  return store;
}

export const FIXTURE_DOWN_NORMS = Float64Array.from({ length: FIXTURE_SHAPE.dFf }, (_, j) => 1 + (j % 5));

function held(document: number): boolean {
  return isHeldOut(document, 0, 10);
}

/** f32 `[tokens, dModel]`, on the grid of f16. */
function plantInputs({ dModel }: SampleShape, document: number, layer: number): Float32Array {
  const random = new Random(77, document, layer);
  const x = new Float32Array(DOCUMENT_TOKENS * dModel);
  for (let t = 0; t < DOCUMENT_TOKENS; t++) {
    x[t * dModel] = 1;
    for (let i = 1; i <= DIRECTIONS; i++) x[t * dModel + i] = Math.round(512 * (4 * random.uniform() - 2)) / 512;
  }
  return x;
}

/** f32 `[tokens, dFf]`: about a tenth above zero. */
function plantActivations({ dModel, dFf }: SampleShape, x: Float32Array, layer: number): Float32Array {
  const act = new Float32Array(DOCUMENT_TOKENS * dFf);
  for (let j = 0; j < dFf; j++) {
    const random = new Random(5, layer, j);
    const direction = Array.from({ length: DIRECTIONS }, () => 2 * random.uniform() - 1);
    const length = Math.hypot(...direction);
    for (let t = 0; t < DOCUMENT_TOKENS; t++) {
      const along = direction.reduce((sum, u, i) => sum + (u / length) * x[t * dModel + i + 1]!, 0);
      act[t * dFf + j] = Math.max(0, along - 1.5);
    }
  }
  return act;
}
