/** What a memory plan is asked: sizes, and a budget. */
import type { AttentionGeometry, FfnGeometry, WeightLayout } from "@flashwick/core";
import type { KvPrecision } from "./kv-bytes.js";

/** What the layers of a mixture keep in slots: experts, of sizes that may differ from layer to layer. */
export interface PlannedExperts {
  /** 0 for a layer without experts. */
  readonly countByLayer: readonly number[];
  /** Of one token. */
  readonly chosenByLayer: readonly number[];
  /** Of one expert in DRAM. */
  readonly slotBytesByLayer: readonly number[];
}

/** What the layers of a model that is read by columns keep in slots: inputs and neurons, each kind in slots of its own size. */
export interface PlannedColumns {
  /** Inputs of every layer. */
  readonly inputs: number;
  /** Of one record in DRAM. */
  readonly inputSlotBytes: number;
  readonly outputSlotBytes: number;
}

/** What of a layer its share of memory depends on. */
export interface PlannedLayer {
  readonly attention: Pick<AttentionGeometry, "nKvHeads" | "headDim">;
  readonly ffn: Pick<FfnGeometry, "dFf">;
}

/** What a memory plan is made for. */
export interface MemoryRequest {
  readonly geometry: { readonly layers: readonly PlannedLayer[] };
  readonly weights: Pick<WeightLayout, "slotBytes">;
  /** Weights that must stay: matrices, norms, biases, checksums. */
  readonly residentBytes: number;
  /** Tables of which a token needs one row (positions; token embeddings of an untied head): kept where there is room. */
  readonly rowTableBytes: number;
  readonly predictorBytes: number;
  /**
   * Share of `dFf` that is named of each layer; `even` where that is not known beforehand; null when every neuron is named (dense). Of no matter in a
   * mixture.
   */
  readonly namedShareByLayer: readonly number[] | "even" | null;
  /** Of a mixture: slots hold experts in place of neurons. */
  readonly experts?: PlannedExperts | undefined;
  /** By columns: slots hold down columns of neurons, and others hold inputs. */
  readonly columns?: PlannedColumns | undefined;
  /** Longest sequence to be held, prompt included. */
  readonly contextTokens: number;
  /** Sequences that may be open at once, each as long as that. Default 1. */
  readonly sequences?: number;
  readonly kvPrecision: KvPrecision | "auto";
  /** Bytes of activations, logits and scratch for prefill batches of n tokens. */
  readonly activationBytes: (batchTokens: number) => number;
  /** Bytes that a slot costs beside its record: its bias, its bookkeeping. */
  readonly slotOverheadBytes: number;
  /** Bytes of the cache's bookkeeping that do not depend on the number of slots. */
  readonly cacheFixedBytes: number;
  readonly readBufferBytes: number;
  /** What layers that are not held are streamed through: so many neurons at a time, at `bytesEach` for each of them. Default: nothing. */
  readonly stream?: { readonly leastNeurons: number; readonly mostNeurons: number; readonly bytesEach: number };
  /** A layer that is not held whole is read whole for every token: room for one more is worth more than keys and values in f32. */
  readonly streamsLayers?: boolean;
  /** Hard budget; null plans for everything to be resident. */
  readonly budgetBytes: number | null;
}
