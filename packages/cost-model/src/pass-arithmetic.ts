/** Everything that is computed, or decided, while some tokens pass through the model at once; milliseconds. */
import type { DType } from "@flashwick/core";
import { type KernelUse, kernelBatchMs, kernelMs } from "./kernel-time.js";
import { residentFfnBytes, type TypedBytes } from "./mixture-shape.js";
import { gateBytes, type TypeShare } from "./model-shape.js";
import type { TokenRequest } from "./pass-request.js";
import { batchMs } from "./read-time.js";

/** Ops of a layer, each of which costs its call; those that are large are split over the threads. */
export const OPS = {
  attention: { calls: 10, split: 5 },
  predict: { calls: 6, split: 2 },
  check: { calls: 5, split: 1 },
  ffn: { calls: 6, split: 2 },
  gate: { calls: 2, split: 1 },
  name: { calls: 2, split: 0 },
  router: { calls: 3, split: 1 },
  head: { calls: 2, split: 1 },
  landing: { calls: 8, split: 3 },
} as const;
/** As the engine cuts the misses of a layer. */
const LANDING_GROUPS = 4;
const LEAST_GROUP_NEURONS = 32;

export class PassArithmetic {
  readonly #request: TokenRequest;
  readonly #tokens: number;
  readonly #workingSetBytes: number;

  /** @param tokens That pass at once. */
  constructor(request: TokenRequest, tokens: number) {
    this.#request = request;
    this.#tokens = tokens;
    const { shape, slotsByLayer, settings } = request;
    const predictors = settings.mode === "predicted" ? (shape.predictor?.bytesByLayer ?? []) : [];
    this.#workingSetBytes =
      shape.nLayers * shape.attentionBytes +
      gateBytes(shape) +
      shape.headBytes +
      (shape.mixture ? residentFfnBytes(shape.mixture) : 0) +
      shape.recordBytes * slotsByLayer.reduce((sum, slots) => sum + slots, 0) +
      predictors.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Of one layer. Each token passes over the keys and values before it. */
  attentionMs(): number {
    const { shape, position, kvPrecision } = this.#request;
    const kvType = kvPrecision;
    const elementBytes = kvType === "f32" ? 4 : kvType === "f16" ? 2 : 1;
    const meanTokens = position + (this.#tokens + 1) / 2;
    const kvBytes = this.#tokens * 2 * meanTokens * shape.nKvHeads * shape.headDim * elementBytes;
    return (
      this.#typedMatrix("linear", shape.attentionTypes, shape.attentionBytes) +
      this.#kernel("attention", kvType, kvBytes) +
      this.#calls(OPS.attention)
    );
  }

  /** Of naming: by a predictor, or by gates that have been multiplied. */
  predictMs(layer: number): number {
    const { shape, profile, settings } = this.#request;
    if (settings.mode === "gate-first") {
      return (this.#tokens * shape.dFf * profile.management.nsPerScore) / 1e6 + this.#calls(OPS.name);
    }
    const bytes = shape.predictor?.bytesByLayer[layer] ?? 0;
    if (bytes === 0) return 0;
    const scores = (this.#tokens * shape.dFf * profile.management.nsPerScore) / 1e6;
    const products = this.#typedMatrix("linear", shape.predictor!.typesByLayer[layer]!, bytes);
    return products + scores + this.#calls(OPS.predict);
  }

  /** Of neurons; whole layers are never decided about. @param named In the union of the tokens' sets. */
  cacheMs(named: number, loaded: number): number {
    const { shape, profile } = this.#request;
    if (shape.rowStream) return 0;
    const { nsPerNamed, nsPerLoaded, copyBytesPerSec } = profile.management;
    const copied = copyBytesPerSec === null ? 0 : (1000 * loaded * shape.recordBytes) / copyBytesPerSec;
    return (named * nsPerNamed + loaded * nsPerLoaded) / 1e6 + copied;
  }

  /** Records are checked on all threads; rows on the calling one, where there are checksums beside the file. */
  checkMs(loaded: number): number {
    const { shape, profile, settings } = this.#request;
    if (shape.rowStream?.isChecked === false || !profile.kernels.some((rate) => rate.op === "checksum")) return 0;
    const bytes = loaded * shape.strideBytes * shape.readsPerNeuron;
    const threads = shape.rowStream ? 1 : settings.threads;
    return this.#kernel("checksum", null, bytes, threads) + Math.min(1, loaded) * this.#calls(OPS.check);
  }

  /** Each token is computed over all of the union. */
  ffnMs(named: number): number {
    const { shape } = this.#request;
    const op = shape.rowStream ? "linear" : "neurons";
    return this.#typedMatrix(op, shape.ffnTypes, named * shape.recordBytes) + this.#calls(OPS.ffn);
  }

  /** Of a resident gate, which is multiplied whole, before anything is named; 0 where there is none. */
  gateMs(): number {
    const { gate } = this.#request.shape;
    return gate ? this.#matrix("linear", gate.dtype, gate.bytes) + this.#calls(OPS.gate) : 0;
  }

  /** Of a mixture's layer: scores of `count` experts for every token, of which some are chosen. */
  routerMs({ dtype, bytes }: TypedBytes, count: number): number {
    const scores = (this.#tokens * count * this.#request.profile.management.nsPerScore) / 1e6;
    return this.#matrix("linear", dtype, bytes) + scores + this.#calls(OPS.router);
  }

  /** An FFN of a mixture's layer, an expert or one that every token uses. @param tokens That it is computed for: all, unless told. */
  mixtureFfnMs(weights: readonly TypedBytes[], tokens = this.#tokens): number {
    if (weights.length === 0) return 0;
    const matrices = weights.reduce((sum, { dtype, bytes }) => sum + this.#matrix("linear", dtype, bytes, tokens), 0);
    return matrices + this.#calls(OPS.ffn);
  }

  /** Overlapped reads are waited for in several groups, each checked and computed by itself. */
  landingMs(loaded: number): number {
    const { profile, settings } = this.#request;
    const groups = Math.max(1, Math.min(LANDING_GROUPS, loaded / LEAST_GROUP_NEURONS));
    return (groups - 1) * (batchMs(profile.flash, settings.readers) / 2 + this.#calls(OPS.landing));
  }

  /** Logits of every token. */
  headMs(): number {
    const { shape } = this.#request;
    return this.#matrix("linear", shape.headDtype, shape.headBytes) + this.#calls(OPS.head);
  }

  #kernel(op: KernelUse["op"], dtype: DType | null, bytes: number, threads = this.#request.settings.threads): number {
    return kernelMs(this.#request.profile, { op, dtype, threads, workingSetBytes: this.#workingSetBytes }, bytes);
  }

  /** Weights in all their types. */
  #typedMatrix(op: "linear" | "neurons", types: readonly TypeShare[], bytes: number): number {
    return types.reduce((sum, { dtype, share }) => sum + this.#matrix(op, dtype, share * bytes), 0);
  }

  /** Weights that are multiplied with a vector of each token, or of some. */
  #matrix(op: "linear" | "neurons", dtype: DType, bytes: number, tokens = this.#tokens): number {
    const { profile, settings } = this.#request;
    const use = { op, dtype, threads: settings.threads, workingSetBytes: this.#workingSetBytes };
    return kernelBatchMs(profile, use, bytes, tokens);
  }

  #calls({ calls, split }: { readonly calls: number; readonly split: number }): number {
    const { profile, settings } = this.#request;
    return (calls * profile.opUs + (settings.threads > 1 ? split * profile.handOffUs : 0)) / 1000;
  }
}
