/**
 * From a small geometry to a large one: how many copies of what. Pure.
 *
 * Invariant of a plan: every width of the target is a whole number of copies of the source's, every source layer has at
 * least one target layer, and of the target layers of one source layer exactly the first attends and the last has an FFN (in parallel
 * blocks the last does both, since both read the same input, which nothing before has changed); the others do the same work and add nothing.
 */
import { equalLayers, InputError, kvWidth, type ModelGeometry, neuronGrid } from "@flashwick/core";
import { checkScalable } from "./scalable-source.js";

/** What is chosen of the target; all else is the source's. */
export interface TargetSize {
  readonly dModel: number;
  readonly dFf: number;
  readonly nLayers: number;
  readonly nHeads: number;
}

/** A size of interest, and the demo checkpoint that it is made from. */
export interface Preset {
  readonly demo: "opt-demo" | "falcon-demo" | "gated-demo";
  readonly size: TargetSize;
}

/**
 * Sizes of opt-1.3b and opt-6.7b (Zhang et al., "OPT", 2022, table 1), and of falcon-7b as near as copies come: it has 71 heads of 64 and
 * widths of 4544 and 18176, which are no multiples of the demo's 256 and 1024; 72 heads, 4608 and 18432 are. llama-2-7b is Llama 2's 7B (Touvron et al., 2023).
 */
export const PRESETS: ReadonlyMap<string, Preset> = new Map([
  ["1.3b", { demo: "opt-demo", size: { dModel: 2048, dFf: 8192, nLayers: 24, nHeads: 32 } }],
  ["6.7b", { demo: "opt-demo", size: { dModel: 4096, dFf: 16384, nLayers: 32, nHeads: 32 } }],
  ["falcon-7b", { demo: "falcon-demo", size: { dModel: 4608, dFf: 18432, nLayers: 32, nHeads: 72 } }],
  ["llama-2-7b", { demo: "gated-demo", size: { dModel: 4096, dFf: 11008, nLayers: 32, nHeads: 32 } }],
] satisfies [string, Preset][]);

/** A layer of the target. */
export interface SubLayer {
  readonly sourceLayer: number;
  /** Its attention is the source layer's; else it is worked out in full, and cancels. */
  readonly attends: boolean;
  /** The same for its FFN. */
  readonly hasFfn: boolean;
}

/** Sizes of a model whose layers are all alike. */
export interface ModelSizes extends TargetSize {
  readonly nKvHeads: number;
  readonly headDim: number;
}

export interface GeometryScale {
  readonly sourceGeometry: ModelGeometry;
  readonly targetGeometry: ModelGeometry;
  /** Of both. */
  readonly source: ModelSizes;
  readonly target: ModelSizes;
  /** Of the blocks of both. */
  readonly parallel: boolean;
  /** Of the neurons of both. */
  readonly gated: boolean;
  /** Copies of the residual stream. */
  readonly widthCopies: number;
  /** Copies of each head's dimensions inside one target head. */
  readonly headWidthCopies: number;
  /** Copies of each neuron in a layer. */
  readonly neuronCopies: number;
  /** `[target.nLayers]` */
  readonly layers: readonly SubLayer[];
}

/**
 * Plans the scaling of a geometry.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a source of another form ({@link checkScalable}).
 *   {InputError} `INPUT_INVALID` for a size that is not made of whole copies.
 */
export function planScale(sourceGeometry: ModelGeometry, size: TargetSize): GeometryScale {
  checkScalable(sourceGeometry);
  checkPositive(size);
  const source = sizesOf(sourceGeometry);
  const layer = sourceGeometry.layers[0]!;
  const widthCopies = copies("d-model", size.dModel, source.dModel);
  const neuronCopies = copies("d-ff", size.dFf, source.dFf);
  copies("heads", size.nHeads, source.nHeads);
  const headDim = size.dModel / size.nHeads;
  const headWidthCopies = copies("d-model / heads", headDim, source.headDim);
  const { parallel, ffn } = layer;
  if (parallel && headWidthCopies !== 1) {
    throw invalid("d-model / heads", `${source.headDim}, the source's: heads of Falcon keep their width`, headDim);
  }
  if (size.nLayers < source.nLayers) {
    throw invalid("layers", `at least ${source.nLayers}, the source's`, size.nLayers);
  }
  if (size.nLayers > source.nLayers && (widthCopies === 1 || neuronCopies === 1)) {
    throw invalid(
      "layers",
      `${source.nLayers}, unless d-model and d-ff grow too: idle layers cancel in copies`,
      size.nLayers,
    );
  }
  const nKvHeads = source.nKvHeads === source.nHeads ? size.nHeads : source.nKvHeads;
  const targetGeometry = scaledGeometry(sourceGeometry, { ...size, nKvHeads, headDim });
  const target = sizesOf(targetGeometry);
  const layers = spreadLayers(source.nLayers, size.nLayers, parallel);
  return {
    ...{ sourceGeometry, targetGeometry, source, target, parallel, gated: ffn.gated },
    ...{ widthCopies, headWidthCopies, neuronCopies, layers },
  };
}

function sizesOf(geometry: ModelGeometry): ModelSizes {
  const { nHeads, nKvHeads, headDim } = geometry.layers[0]!.attention;
  return { ...neuronGrid(geometry), nHeads, nKvHeads, headDim };
}

function scaledGeometry(source: ModelGeometry, size: ModelSizes): ModelGeometry {
  const { dModel, dFf, nLayers, nHeads, nKvHeads, headDim } = size;
  const { attention, ffn, ...layer } = source.layers[0]!;
  const { rotary } = attention;
  const scaled = {
    ...attention,
    ...{ nHeads, nKvHeads, headDim, scale: 1 / Math.sqrt(headDim) },
    rotary: rotary && { ...rotary, dims: headDim },
  };
  return {
    ...source,
    dModel,
    embedding: { ...source.embedding, dim: dModel },
    layers: equalLayers(nLayers, { ...layer, attention: scaled, ffn: { ...ffn, dFf } }),
  };
}

/** Source layers in order, each for as many target layers as the next: the first ones for one more if it does not divide. */
export function spreadLayers(sourceLayers: number, targetLayers: number, parallel = false): SubLayer[] {
  const base = Math.floor(targetLayers / sourceLayers);
  const longer = targetLayers % sourceLayers;
  return Array.from({ length: sourceLayers }, (_, sourceLayer) => {
    const length = base + (sourceLayer < longer ? 1 : 0);
    const [attention, ffn] = [parallel ? length - 1 : 0, length - 1];
    return Array.from({ length }, (_, i) => ({ sourceLayer, attends: i === attention, hasFfn: i === ffn }));
  }).flat();
}

/** Weights of attention and FFN in all layers. */
export function layerWeights({ layers, dModel }: Pick<ModelGeometry, "layers" | "dModel">): number {
  return layers.reduce((sum, { attention, ffn }) => {
    const rows = 2 * (dModel + kvWidth(attention)) + (ffn.gated ? 3 : 2) * ffn.dFf;
    return sum + dModel * rows;
  }, 0);
}

/**
 * What each of the m copies of the FFN's normed input is to the source's, times m: f copies of a neuron add up to one. A gated neuron is a product of two
 * sums over the copies, so each of them takes the root.
 */
export function ffnInputShare({ gated, neuronCopies }: Pick<GeometryScale, "gated" | "neuronCopies">): number {
  return 1 / (gated ? Math.sqrt(neuronCopies) : neuronCopies);
}

/** Nearest power of two: what may be taken out of a weight and put into another without rounding. */
export function nearestPowerOfTwo(value: number): number {
  return 2 ** Math.round(Math.log2(value));
}

function copies(name: string, target: number, source: number): number {
  const ratio = target / source;
  if (Number.isInteger(ratio)) return ratio;
  throw invalid(name, `a multiple of the source's ${source}`, target);
}

function checkPositive(size: TargetSize): void {
  for (const [name, value] of Object.entries(size)) {
    if (!Number.isInteger(value) || value < 1) throw invalid(name, "a positive integer", value);
  }
}

/** `count` powers of two, as even as can be, that add up to the power of two nearest to `count`: factors of copies that round nothing. */
export function evenPowersOfTwo(count: number): Float32Array {
  const sum = nearestPowerOfTwo(count);
  // a ones and b halves (or doubles): a + b = count, a + b/2 = sum (or a + 2b).
  const [others, other] = count >= sum ? [2 * (count - sum), 0.5] : [sum - count, 2];
  return Float32Array.from({ length: count }, (_, i) => (i < others ? other : 1));
}

function invalid(name: string, expected: string, found: number): InputError {
  return new InputError("INPUT_INVALID", `${name}: expected ${expected}, found ${found}`, { details: { name, found } });
}
