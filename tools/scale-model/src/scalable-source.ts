/** Which checkpoints can be scaled: three forms, for each of which tensor-expansion.ts has the factors. Pure. */
import { type LayerGeometry, type ModelGeometry, type NormGeometry, UnsupportedError } from "@flashwick/core";

/**
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a source that is neither a pre-norm OPT with affine norms and biases, nor a Falcon of the 7B's form, nor a
 * Llama with ReLU gates and as many heads of keys as of queries.
 */
export function checkScalable(geometry: ModelGeometry): void {
  const { architecture, dModel, embedding, layers, finalNorm, head } = geometry;
  const layer = layers[0]!;
  const isPlain = finalNorm !== null && head.tied && !head.bias && embedding.dim === dModel && embedding.scale === 1;
  const isAlike = layers.every((other) => other === layer);
  // Copies of a neuron share its output by factors inside f: only what is ReLU alone lets them out again.
  const isRelu = layer.ffn.activation === "relu" && layer.ffn.upActivation === "none";
  if (isPlain && isAlike && isRelu && FORMS[architecture]?.(layer)) return;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "scaling expects an OPT checkpoint with ReLU, norms before attention and FFN and at the end, biases, and a tied head of full width, a Falcon of the " +
      "7B's form with ReLU and a tied head, or a Llama with ReLU gates, as many heads of keys as of queries and a tied head; found another form",
    { details: { architecture, layer, finalNorm, head, embedding, dModel } },
  );
}

const FORMS: Readonly<Partial<Record<ModelGeometry["architecture"], (layer: LayerGeometry) => boolean>>> = {
  opt: ({ ffn, norms }) => isAffine(norms.beforeAttention) && ffn.biases.up,
  falcon: ({ attention, ffn, norms, parallel }) =>
    isAffine(norms.beforeAttention) &&
    parallel &&
    !norms.beforeFfn &&
    !ffn.biases.up &&
    attention.rotary !== null &&
    attention.nKvHeads === 1,
  llama: ({ attention, ffn, parallel }) => {
    const biases = [...Object.values(attention.biases), ...Object.values(ffn.biases)];
    const isTurned = attention.rotary?.pairs === "halves" && attention.rotary.scaling === null;
    const isWhole = attention.nKvHeads === attention.nHeads && attention.rotary?.dims === attention.headDim;
    return ffn.gated && !parallel && isTurned && isWhole && !biases.includes(true);
  },
};

function isAffine(norm: NormGeometry | null): boolean {
  return norm?.weight === true && norm.bias;
}
