/**
 * What a token's arithmetic and deciding take, milliseconds, for any number of neurons.
 *
 * These are the closed form's own terms: tokenCost is affine in what a layer names and loads and in the position, so that a few answers of
 * its give all others, and the two cannot drift apart.
 */
import type { SparsityStatistics } from "@flashwick/core";
import { PassArithmetic } from "../pass-arithmetic.js";
import type { TokenRequest } from "../pass-request.js";
import { denseSparsity } from "../sparsity.js";
import { type TokenCost, tokenCost } from "../token-cost.js";

/** What arithmetic depends on. */
export type ArithmeticRequest = Pick<TokenRequest, "shape" | "profile" | "settings" | "slotsByLayer" | "kvPrecision">;

export class ArithmeticTime {
  readonly headMs: number;
  /** Of one layer's resident gate; 0 where there is none. */
  readonly gateMs: number;
  /** 0 where nothing is predicted. */
  readonly predictMsByLayer: readonly number[];
  readonly #attentionFirstMs: number;
  readonly #attentionMsPerToken: number;
  readonly #ffn: LayerTerm;
  readonly #cache: LayerTerm;
  readonly #check: LayerTerm;

  constructor(request: ArithmeticRequest) {
    const { nLayers } = request.shape;
    const probes = new Probes(request);
    const [first, later] = [probes.hits(1, 0), probes.hits(1, FAR_TOKENS)];
    this.headMs = first.headMs;
    this.#attentionFirstMs = first.attentionMs / nLayers;
    this.#attentionMsPerToken = (later.attentionMs - first.attentionMs) / nLayers / FAR_TOKENS;
    this.gateMs = new PassArithmetic({ ...request, ...ONE_TOKEN }, 1).gateMs();
    const ffn = layerTerm(probes, "ffnMs", nLayers);
    this.#ffn = { ...ffn, fixed: ffn.fixed - this.gateMs };
    this.#cache = layerTerm(probes, "cacheMs", nLayers);
    this.#check = layerTerm(probes, "checkMs", nLayers);
    this.predictMsByLayer = predictMsByLayer(request, probes);
  }

  /** Of one layer. @param position Tokens before this one. */
  attentionMs(position: number): number {
    return this.#attentionFirstMs + position * this.#attentionMsPerToken;
  }

  cacheMs(named: number, loaded: number): number {
    return termMs(this.#cache, named, loaded);
  }

  checkMs(named: number, loaded: number): number {
    return termMs(this.#check, named, loaded);
  }

  ffnMs(named: number, loaded: number): number {
    return termMs(this.#ffn, named, loaded);
  }
}

/** What a gate does not depend on. */
const ONE_TOKEN = { sparsity: denseSparsity(0), position: 0, seenTokens: 0 };

/** Far enough for the slope's digits. */
const FAR_TOKENS = 1000;

/** fixed + named · perNamed + loaded · perLoaded, and `once` where anything is loaded. Of one layer, milliseconds. */
interface LayerTerm {
  readonly fixed: number;
  readonly perNamed: number;
  readonly perLoaded: number;
  readonly once: number;
}

function termMs({ fixed, perNamed, perLoaded, once }: LayerTerm, named: number, loaded: number): number {
  return fixed + named * perNamed + loaded * perLoaded + (loaded > 0 ? once : 0);
}

function layerTerm(probes: Probes, key: keyof TokenCost, nLayers: number): LayerTerm {
  const [hit1, hit2] = [probes.hits(1, 0)[key] / nLayers, probes.hits(2, 0)[key] / nLayers];
  const [miss1, miss2] = [probes.misses(1)[key] / nLayers, probes.misses(2)[key] / nLayers];
  const perNamed = hit2 - hit1;
  const perLoaded = miss2 - miss1 - perNamed;
  return { fixed: hit1 - perNamed, perNamed, perLoaded, once: miss1 - hit1 - perLoaded };
}

/** Each predictor costs its call and its bytes; the same bytes as one predictor cost all calls but one less. */
function predictMsByLayer({ shape, settings }: ArithmeticRequest, probes: Probes): number[] {
  if (settings.mode === "gate-first") {
    return new Array(shape.nLayers).fill(probes.hits(1, 0).predictMs / shape.nLayers);
  }
  const bytesByLayer = (settings.mode === "predicted" && shape.predictor?.bytesByLayer) || [];
  const bytes = bytesByLayer.reduce((sum, of) => sum + of, 0);
  const predictors = bytesByLayer.filter((of) => of > 0).length;
  if (predictors === 0) return new Array(shape.nLayers).fill(0);
  const all = probes.hits(1, 0).predictMs;
  if (predictors === 1) return bytesByLayer.map((of) => (of > 0 ? all : 0));
  const asOne = bytesByLayer.map((_, layer) => (layer === 0 ? bytes : 0));
  const one = probes.hits(1, 0, asOne).predictMs;
  const callMs = (all - one) / (predictors - 1);
  return bytesByLayer.map((of) => (of > 0 ? callMs + ((one - callMs) * of) / bytes : 0));
}

type Question = Omit<TokenRequest, "sparsity" | "seenTokens" | "position">;

/** Questions to the closed form: so many neurons of every layer, all there or none. */
class Probes {
  readonly #request: Question;

  constructor(request: ArithmeticRequest) {
    const { settings, shape } = request;
    // A dense run has its predictors neither in DRAM nor in its time; the rest is the same.
    const predictor = settings.mode === "dense" ? null : shape.predictor;
    const mode = settings.mode === "dense" ? "predicted" : settings.mode;
    this.#request = { ...request, shape: { ...shape, predictor }, settings: { ...settings, mode } };
  }

  hits(named: number, position: number, predictorBytes?: readonly number[]): TokenCost {
    const { shape } = this.#request;
    const predictor = predictorBytes ? { ...shape.predictor!, bytesByLayer: predictorBytes } : shape.predictor;
    return this.#ask({ ...this.#request, shape: { ...shape, predictor } }, named, position, 1);
  }

  /** A cache that has seen no token holds nothing. */
  misses(named: number): TokenCost {
    return this.#ask(this.#request, named, 0, 0);
  }

  #ask(request: Question, named: number, position: number, seenTokens: number): TokenCost {
    const sparsity = always(request.shape.nLayers, named / request.shape.dFf);
    return tokenCost({ ...request, sparsity, position, seenTokens });
  }
}

/** Every token names the same neurons. */
function always(nLayers: number, share: number): SparsityStatistics {
  const dense = denseSparsity(nLayers);
  return { ...dense, layers: dense.layers.map((layer) => ({ ...layer, unionShare: [share], freshShare: [0] })) };
}
