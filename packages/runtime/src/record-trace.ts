/** Which neurons or experts a model uses of a text, token after token, as a trace file: for the cache simulator and for placing neurons on flash. */
import {
  hasExperts,
  InputError,
  isActive,
  isSparse,
  type OnProgress,
  UnsupportedError,
  unitGrid,
} from "@flashwick/core";
import { TraceEncoder, type TraceOrigin } from "@flashwick/dram-cache/simulate";
import type { ForwardObserver } from "./forward-observer.js";
import { ImportanceTally } from "./importance-tally.js";
import type { Model } from "./model.js";
import { type OnStretch, stretchObserver } from "./stretch-observer.js";

/** Progress and abort of a recording. */
export interface RecordTraceOptions {
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A recorded trace, as its file. */
export interface RecordedTrace {
  /** The file: dram-cache's SPEC.md. */
  readonly bytes: Uint8Array;
  readonly tokens: number;
  /** Neurons, or experts, of each token, over all layers, on average. */
  readonly neuronsPerToken: number;
}

/**
 * Runs sequences as decoding would, and keeps the set of each token and layer: in predicted mode what the predictors name, in dense mode what is
 * truly active, and of a mixture of experts what its routers choose. Sequences follow each other as the texts of one
 * session do. Where single neurons have records, the trace says which model it is of and what each neuron adds to the
 * text.
 *
 * @param sequences Token ids, each at most the model's context.
 * @throws {InputError} `INPUT_INVALID` without a token. {UnsupportedError} `UNSUPPORTED_ACTIVATION` for a model whose activation leaves nothing
 * at zero.
 * Cost: a dense pass over the tokens, and one more reading of the neurons; about 1.2 bytes for each neuron of a set.
 */
export async function recordTrace(
  model: Model,
  sequences: readonly (readonly number[])[],
  { onProgress, signal }: RecordTraceOptions = {},
): Promise<RecordedTrace> {
  const { geometry } = model.header;
  const { nLayers, dFf } = unitGrid(geometry);
  const total = sequences.reduce((sum, { length }) => sum + length, 0);
  if (total === 0)
    throw new InputError("INPUT_INVALID", "the trace would have no tokens; give a text of at least one window");
  if (!isSparse(geometry) && !hasExperts(geometry)) {
    const { activation } = geometry.layers[0]!.ffn;
    const message = `${activation} leaves no activation at zero: every token uses every neuron, and there is nothing to record`;
    throw new UnsupportedError("UNSUPPORTED_ACTIVATION", message);
  }
  const encoder = new TraceEncoder(nLayers, dFf);
  const importance = model.header.records.length > 0 ? new ImportanceTally(geometry) : null;
  let origin: TraceOrigin | undefined;
  let neurons = 0;
  for (const sequence of sequences) {
    await model.withSequence(
      sequence.length,
      async (run) => {
        const batch = new BatchSets(nLayers, dFf);
        const observer: ForwardObserver = hasExperts(geometry)
          ? { named: batch.onNamed }
          : stretchObserver(run.engine, (...stretch) => {
              batch.onStretch(...stretch);
              importance?.onStretch(...stretch);
            });
        const keep = () => {
          for (const sets of batch.take()) {
            encoder.add(sets);
            for (const set of sets) neurons += set.length;
          }
          onProgress?.({ phase: "trace", loaded: encoder.tokens, total, unit: "tokens" });
        };
        await run.extend(sequence, { chooser: run.engine.batchChooser, observer, onProgress: keep, signal });
        // Norms need an engine, and the last sequence has the last one.
        if (importance && encoder.tokens === total) {
          origin = originOf(model, importance.importance(await run.engine.downNorms(signal), dFf));
        }
      },
      { signal },
    );
  }
  return { bytes: encoder.finish(origin), tokens: encoder.tokens, neuronsPerToken: neurons / encoder.tokens };
}

function originOf({ header, mode }: Model, importance: readonly Float32Array[]): TraceOrigin {
  return { fingerprint: header.fingerprint, named: mode === "predicted", importance };
}

/** The sets of a batch: they come layer after layer, and are wanted token after token. */
class BatchSets {
  readonly #nLayers: number;
  readonly #dFf: number;
  /** By `[token][layer]`. */
  #sets: number[][][] = [];

  constructor(nLayers: number, dFf: number) {
    this.#nLayers = nLayers;
    this.#dFf = dFf;
  }

  readonly onStretch: OnStretch = (layer, first, count, nTokens, act, rowLength, named) => {
    for (let t = 0; t < nTokens; t++) {
      const set = this.#layersOf(t)[layer]!;
      for (let i = 0; i < count; i++) {
        const isUsed = named ? named[t * this.#dFf + first + i] === 1 : isActive(act[t * rowLength + i]!);
        if (isUsed) set.push(first + i);
      }
    }
  };

  readonly onNamed = (layer: number, named: Uint32Array, _: unknown, row: number): void => {
    this.#layersOf(row)[layer] = [...named];
  };

  #layersOf(token: number): number[][] {
    this.#sets[token] ??= Array.from({ length: this.#nLayers }, () => []);
    return this.#sets[token]!;
  }

  take(): Uint32Array[][] {
    const sets = this.#sets.map((layers) => layers.map((set) => Uint32Array.from(set)));
    this.#sets = [];
    return sets;
  }
}
