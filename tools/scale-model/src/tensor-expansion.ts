/**
 * Which expansion makes each tensor of the target. Pure. README.md, "Why it is the same function", derives the factors.
 *
 * With m copies of the residual stream, f of each neuron, r of a head's dimensions inside a head, and p the power of two
 * nearest to m, the factors are
 *
 *     attention norm 1/(m·p)   q p/√r   k p   v 1   out p/m      biases of q 1/√r, of k 1, of v 1/p
 *     FFN norm       1/(m·f)   up 1     down 1                   bias of up 1/f
 *     final norm     1/m       head 1 (the tied embedding)
 *
 * A parallel block (Falcon) has one norm for both, and no biases: norm 1/(m·p), q p, k p, v 1, and copies with factors of their own that are
 * powers of two and add up to p: of each head in the output, and of each neuron's up row (times a power of two, where f is not near m).
 *
 * A gated block (Llama) has no biases. Its neurons are products of two sums, so the FFN norm is 1/(m·√f), gate and up 1. Heads are rotated in pairs: pair j of a head
 * turns as pair j·r of a wider one does, and the pairs between are zero in q and k; so q takes √r: the softmax divides by √r more. Values have no pairs, and are repeated.
 *
 * Invariant: norms and biases, which are f32, take every factor that is not a power of two, save √r and (where m is no
 * power of two) p/m: so the matrices are the source's bits times a power of two.
 */
import { UnsupportedError } from "@flashwick/core";
import type { TensorRole } from "@flashwick/flash-format";
import {
  type Copies,
  cancellingFactors,
  type Expansion,
  mapped,
  matrixOf,
  tiled,
  vectorOf,
  weighted,
} from "./expansion.js";
import { evenPowersOfTwo, ffnInputShare, type GeometryScale, nearestPowerOfTwo } from "./geometry-scale.js";

/** A tensor of the target: what it is made from, and how. */
export interface TensorPlan {
  /** Name of the source's tensor. */
  readonly source: string;
  readonly expansion: Expansion;
}

/**
 * How a resident tensor of the target comes about.
 *
 * @param name  GGUF name in the target.
 * @param order Of the neurons of its layer ({@link neuronOrder}).
 */
export function planTensor(name: string, scale: GeometryScale, order: (layer: number) => Uint32Array): TensorPlan {
  const inLayer = /^blk\.(\d+)\.(.+)$/.exec(name);
  if (inLayer === null) return { source: name, expansion: modelTensor(name as TensorRole, scale) };
  const layer = Number(inLayer[1]);
  const role = inLayer[2] as TensorRole;
  const source = `blk.${scale.layers[layer]!.sourceLayer}.${role}`;
  return { source, expansion: layerTensor(role, scale, layer, order) };
}

/**
 * How a layer's neurons come about: gate rows (null where there are none), up rows and down columns, each as a matrix `[dFf, dModel]` of the source.
 * In a layer without FFN the down columns of a neuron's copies cancel.
 */
export function planNeurons(
  scale: GeometryScale,
  layer: number,
  order: Uint32Array,
): { gate: Expansion | null; up: Expansion; down: Expansion } {
  const { dFf } = scale.source;
  const width = widthOf(scale);
  const neurons = neuronsOf(scale, order);
  const plain = matrixOf(neurons, width);
  const shares = evenPowersOfTwo(scale.neuronCopies);
  // They add up to the power of two nearest to f, and the norm takes out the one nearest to m.
  const rest = nearestPowerOfTwo(scale.widthCopies) / nearestPowerOfTwo(scale.neuronCopies);
  const shared = weighted(neurons, (i) => rest * shares[Math.floor(order[i]! / dFf)]!);
  const up = scale.parallel ? matrixOf(shared, width) : plain;
  const gate = scale.gated ? plain : null;
  if (scale.layers[layer]!.hasFfn) return { gate, up, down: plain };
  const signs = cancellingFactors(scale.neuronCopies);
  return {
    gate,
    // Copies that cancel must fire alike.
    up: plain,
    down: matrixOf(
      weighted(neurons, (i) => signs[Math.floor(order[i]! / dFf)]!),
      width,
    ),
  };
}

function modelTensor(role: TensorRole, scale: GeometryScale): Expansion {
  const { vocabSize, contextLength, embedding } = scale.sourceGeometry;
  switch (role) {
    case "token_embd.weight":
      return matrixOf(tiled(vocabSize, 1), widthOf(scale));
    case "position_embd.weight":
      return matrixOf(tiled(contextLength + (embedding.positions?.offset ?? 0), 1), widthOf(scale));
    case "output_norm.weight":
    case "output_norm.bias":
      return vectorOf(widthOf(scale, 1 / scale.widthCopies));
    default:
      throw new UnsupportedError("UNSUPPORTED_FEATURE", `scaling knows no tensor ${role}`);
  }
}

function layerTensor(
  role: TensorRole,
  scale: GeometryScale,
  layer: number,
  order: (layer: number) => Uint32Array,
): Expansion {
  const { widthCopies: m, neuronCopies: f, headWidthCopies: r } = scale;
  const isRotated = scale.sourceGeometry.layers[0]!.attention.rotary !== null;
  const p = nearestPowerOfTwo(m);
  switch (role) {
    case "attn_norm.weight":
    case "attn_norm.bias":
      return vectorOf(widthOf(scale, 1 / (m * p)));
    case "attn_q.weight":
      return matrixOf(
        isRotated ? rotatedHeadsOf(scale, p * Math.sqrt(r)) : headsOf(scale, p / Math.sqrt(r)),
        widthOf(scale),
      );
    case "attn_q.bias":
      return vectorOf(headsOf(scale, 1 / Math.sqrt(r)));
    case "attn_k.weight":
      return matrixOf(keysOf(scale, isRotated, p), widthOf(scale));
    case "attn_k.bias":
      return vectorOf(headsOf(scale));
    case "attn_v.weight":
      return matrixOf(kvHeadsOf(scale), widthOf(scale));
    case "attn_v.bias":
      return vectorOf(headsOf(scale, 1 / p));
    case "attn_output.weight":
      return matrixOf(
        widthOf(scale),
        attentionOutput(scale, layer, (copy) => (scale.parallel ? evenPowersOfTwo(m)[copy]! : p / m)),
      );
    case "attn_output.bias":
      return vectorOf(widthOf(scale, scale.layers[layer]!.attends ? 1 : 0));
    case "ffn_norm.weight":
    case "ffn_norm.bias":
      return vectorOf(widthOf(scale, ffnInputShare(scale) / m));
    case "ffn_up.bias":
      return vectorOf(neuronsOf(scale, order(layer), 1 / f));
    case "ffn_down.bias":
      return vectorOf(widthOf(scale, scale.layers[layer]!.hasFfn ? 1 : 0));
    default:
      throw new UnsupportedError("UNSUPPORTED_FEATURE", `scaling knows no tensor ${role}`);
  }
}

/** The residual stream: the source's, m times. */
function widthOf(scale: GeometryScale, factor = 1): Copies {
  return tiled(scale.source.dModel, scale.widthCopies, factor);
}

/** The target's neurons in their order. */
function neuronsOf({ source, target }: GeometryScale, order: Uint32Array, factor = 1): Copies {
  return mapped(target.dFf, (i) => order[i]! % source.dFf, factor);
}

/** All heads side by side: the source's heads again and again, inside each its dimensions r times. */
function headsOf({ source, target }: GeometryScale, factor = 1): Copies {
  return mapped(
    target.dModel,
    (i) => {
      const head = Math.floor(i / target.headDim) % source.nHeads;
      return head * source.headDim + (i % source.headDim);
    },
    factor,
  );
}

/** All heads side by side, in each its pairs of dimensions (i, i + headDim/2) at every r-th pair; what is between is zero. */
function rotatedHeadsOf(scale: GeometryScale, factor: number): Copies {
  const { source, target, headWidthCopies: r } = scale;
  const half = target.headDim / 2;
  const heads = mapped(target.dModel, (i) => {
    const head = Math.floor(i / target.headDim) % source.nHeads;
    const within = i % target.headDim;
    const pair = Math.floor((within % half) / r);
    return head * source.headDim + (within < half ? 0 : source.headDim / 2) + pair;
  });
  return weighted(heads, (i) => ((i % half) % r === 0 ? factor : 0));
}

/** Of keys: heads as those of queries, or the source's own one, which is no wider. */
function keysOf(scale: GeometryScale, isRotated: boolean, factor: number): Copies {
  const isShared = scale.source.nKvHeads !== scale.source.nHeads;
  return isRotated && !isShared ? rotatedHeadsOf(scale, factor) : kvHeadsOf(scale, factor);
}

/** The heads of keys and values: as many as queries have, or the source's own one. */
function kvHeadsOf(scale: GeometryScale, factor = 1): Copies {
  const { source } = scale;
  return source.nKvHeads === source.nHeads
    ? headsOf(scale, factor)
    : tiled(source.nKvHeads * source.headDim, 1, factor);
}

/** Input columns of the output projection; in a layer that does not attend, copies of a dimension cancel. @param factorOf A copy. */
function attentionOutput(scale: GeometryScale, layer: number, factorOf: (copy: number) => number): Copies {
  const { source, target, headWidthCopies: r } = scale;
  const copyOf = (i: number) => {
    const repeat = Math.floor(Math.floor(i / target.headDim) / source.nHeads);
    return repeat * r + Math.floor((i % target.headDim) / source.headDim);
  };
  const factors = Float32Array.from({ length: scale.widthCopies }, (_, copy) => factorOf(copy));
  if (scale.layers[layer]!.attends) return weighted(headsOf(scale), (i) => factors[copyOf(i)]!);
  const signs = cancellingFactors(scale.widthCopies);
  return weighted(headsOf(scale, factors.at(-1)!), (i) => signs[copyOf(i)]!);
}
