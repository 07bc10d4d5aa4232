/**
 * Predictors that are fed by the residual stream h before the FFN's norm, as those of TurboSparse (Song et al., arXiv 2406.05955) are, while ours are fed by the normed x.
 *
 * Of an RMS norm x = h · w / rms(h), so W1 · h = rms(h) · (W1 / w) · x, columns divided by w. ReLU lets the positive rms(h) pass, so scores are rms(h) times
 * what they are of x: with W1 / w the same neurons are above a threshold of 0, which is TurboSparse's. No other threshold means the same for every token; the
 * import measures its own.
 */
import { assert, InputError, UnsupportedError } from "@flashwick/core";
import { type ModelFile, readResidentTensor } from "@flashwick/flash-format";

/** Whether a tensor of this prefix is of a predictor that is fed before the norm. */
export function isPreNorm(prefix: string): boolean {
  return prefix.endsWith("mlp.predictor.");
}

/**
 * Divides the columns of W1 by the weights of the layer's norm, in place.
 *
 * @param w1 f32 `[r, dModel]`.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` unless an RMS norm of the residual stream is all that stands before the FFN. {InputError} `INPUT_INVALID` for a norm
 * that lets nothing of a channel pass.
 */
export async function foldNorm(file: ModelFile, layer: number, w1: Float32Array): Promise<void> {
  const weight = await readNorm(file, layer);
  const dead = weight.findIndex((w) => w === 0);
  if (dead >= 0) {
    const message = `layer ${layer}: the predictor reads channel ${dead}, which the norm before the FFN multiplies by 0; train a predictor with flashwick train`;
    throw new InputError("INPUT_INVALID", message, { details: { layer, channel: dead } });
  }
  for (let i = 0; i < w1.length; i++) w1[i]! /= weight[i % weight.length]!;
}

async function readNorm(file: ModelFile, layer: number): Promise<Float32Array> {
  const { geometry, tensors } = file.header;
  const { norms, parallel } = geometry.layers[layer]!;
  const { beforeFfn } = norms;
  if (parallel || beforeFfn?.kind !== "rms" || !beforeFfn.weight || beforeFfn.bias) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `layer ${layer}: a predictor fed by the residual stream before the norm: expected an RMS norm before the FFN, which folds into it, found another form; train a predictor with flashwick train`,
      { details: { layer } },
    );
  }
  const tensor = tensors.get(`blk.${layer}.ffn_norm.weight`);
  assert(tensor?.dtype === "f32", "norms are resident, f32");
  const weight = new Float32Array(geometry.dModel);
  await readResidentTensor(file, tensor, new Uint8Array(weight.buffer));
  return weight;
}
