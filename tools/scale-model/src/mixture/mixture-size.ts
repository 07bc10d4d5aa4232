/**
 * From the demo mixture's geometry to that of a large one: how many copies of what. Pure.
 *
 * A trained expert becomes `slices` experts that are always chosen together, each with its share of the neurons, and each slice `twins` experts of
 * which a token's side chooses one (sides.ts): so the 2 of 16 become 8 of 64 (four slices), 8 of 128 (four, twice), 4 of 32 (two).
 *
 * Invariant of a plan: every expert of the target is a copy of one slice, and of the target layers of one source layer one attends and the last
 * computes experts; the others do the same work, and it cancels.
 */
import { InputError } from "@flashwick/core";

/** Names of `general.architecture` that can be made. */
export const MIXTURE_ARCHITECTURES = ["olmoe", "qwen3moe", "gpt-oss"] as const;
export type MixtureArchitecture = (typeof MIXTURE_ARCHITECTURES)[number];

/** Sizes of a mixture whose layers are all alike. */
export interface MixtureSizes {
  readonly dModel: number;
  readonly nLayers: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly nExperts: number;
  /** Experts that a token uses. */
  readonly nUsed: number;
  /** Neurons of an expert. */
  readonly dExpert: number;
  readonly vocabSize: number;
}

export interface MixtureTarget extends MixtureSizes {
  readonly architecture: MixtureArchitecture;
}

/**
 * config.json of allenai/OLMoE-1B-7B-0924, Qwen/Qwen3-30B-A3B and openai/gpt-oss-20b, and the same forms at sizes that tests can hold.
 */
export const MIXTURE_PRESETS: ReadonlyMap<string, MixtureTarget> = new Map([
  ["olmoe-1b-7b", olmoe({ dModel: 2048, nLayers: 16, nHeads: 16, dExpert: 1024, vocabSize: 50304 })],
  ["qwen3-30b-a3b", qwen3({ dModel: 2048, nLayers: 48, nHeads: 32, dExpert: 768, vocabSize: 151936 })],
  ["gpt-oss-20b", gptOss({ dModel: 2880, nLayers: 24, nHeads: 64, dExpert: 2880, vocabSize: 201088 })],
  ["olmoe-small", olmoe({ dModel: 512, nLayers: 16, nHeads: 4, dExpert: 64, vocabSize: 4160 })],
  ["qwen3-small", qwen3({ dModel: 384, nLayers: 16, nHeads: 8, dExpert: 64, vocabSize: 4160 })],
  ["gpt-oss-small", gptOss({ dModel: 416, nLayers: 24, nHeads: 16, dExpert: 192, vocabSize: 4160 })],
]);

type Chosen = Pick<MixtureSizes, "dModel" | "nLayers" | "nHeads" | "dExpert" | "vocabSize">;

function olmoe(sizes: Chosen): MixtureTarget {
  return { architecture: "olmoe", ...sizes, nKvHeads: sizes.nHeads, headDim: 128, nExperts: 64, nUsed: 8 };
}

function qwen3(sizes: Chosen): MixtureTarget {
  return { architecture: "qwen3moe", ...sizes, nKvHeads: 4, headDim: 128, nExperts: 128, nUsed: 8 };
}

function gptOss(sizes: Chosen): MixtureTarget {
  return { architecture: "gpt-oss", ...sizes, nKvHeads: 8, headDim: 64, nExperts: 32, nUsed: 4 };
}

/** A layer of the target. */
export interface MixtureLayer {
  readonly sourceLayer: number;
  /** Its attention is the source layer's; else it is worked out in full, and cancels. */
  readonly attends: boolean;
  /** The same for its experts. */
  readonly hasExperts: boolean;
}

export interface MixtureScale {
  readonly source: MixtureSizes;
  readonly target: MixtureTarget;
  /** Copies of the residual stream; what is left of its width holds the marks (marks.ts) and zeros. */
  readonly widthCopies: number;
  /** Query heads for each of the source's. */
  readonly headCopies: number;
  /** Copies of each dimension of values inside a head; queries and keys have zeros, or other heads' dimensions, there. */
  readonly headWidthCopies: number;
  readonly slices: number;
  readonly twins: number;
  /** Copies of each neuron in its slice's experts. */
  readonly neuronCopies: number;
  /** `[target.nLayers]` */
  readonly layers: readonly MixtureLayer[];
}

/** Channels beside the copies: a constant, and the two sides of a token, 32 of each (one block). */
export const MARK_CHANNELS = 96;

/** @throws {InputError} `INPUT_INVALID` for a size that is not made of whole copies. */
export function planMixture(source: MixtureSizes, target: MixtureTarget): MixtureScale {
  const ratio = (name: string, large: number, small: number) => {
    const value = large / small;
    if (Number.isInteger(value) && value >= 1) return value;
    throw invalid(name, `a multiple of ${small}`, large);
  };
  const slices = ratio("experts used", target.nUsed, source.nUsed);
  const twins = ratio("experts", target.nExperts, source.nExperts * slices);
  if (twins > 2)
    throw invalid("experts", `at most ${2 * source.nExperts * slices}: a token has two sides`, target.nExperts);
  const sliceNeurons = ratio("source neurons", source.dExpert, slices) && source.dExpert / slices;
  const widthCopies = Math.floor((target.dModel - MARK_CHANNELS) / source.dModel);
  if (widthCopies < 1) throw invalid("d-model", `at least ${source.dModel + MARK_CHANNELS}`, target.dModel);
  ratio("heads of keys and values", target.nKvHeads, source.nHeads);
  checkHeads(source, target);
  return {
    ...{ source, target, widthCopies, slices, twins },
    headCopies: ratio("heads", target.nHeads, source.nHeads),
    headWidthCopies: ratio("head width", target.headDim, source.headDim),
    neuronCopies: ratio("neurons", target.dExpert, sliceNeurons),
    layers: spreadMixtureLayers(source.nLayers, ratio("layers", target.nLayers, source.nLayers), target.architecture),
  };
}

/** Norms of queries and keys see all heads of the source inside each head of the target. */
function checkHeads(source: MixtureSizes, { architecture, headDim }: MixtureTarget): void {
  const wanted = source.nHeads * source.headDim;
  if (architecture !== "gpt-oss" && headDim !== wanted)
    throw invalid("head width", `${wanted}, all heads' of the source`, headDim);
}

/**
 * Each source layer as `copies` layers: the first attends, the last computes experts. Even layers of gpt-oss see a window of 128
 * positions, so there the first odd layer attends.
 */
export function spreadMixtureLayers(
  sourceLayers: number,
  copies: number,
  architecture: MixtureArchitecture,
): MixtureLayer[] {
  return Array.from({ length: sourceLayers * copies }, (_, layer) => {
    const place = layer % copies;
    const first = layer - place;
    const attending = architecture === "gpt-oss" && first % 2 === 0 ? 1 : 0;
    return { sourceLayer: first / copies, attends: place === attending, hasExperts: place === copies - 1 };
  });
}

function invalid(name: string, expected: string, found: number): InputError {
  return new InputError("INPUT_INVALID", `${name}: expected ${expected}, found ${found}`, { details: { name, found } });
}
