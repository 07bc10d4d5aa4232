/** A predictor as a safetensors file, for other programs: `blk.<l>.fc1.weight [r, d_model]`, `blk.<l>.fc2.weight [d_ff, r]`, f32. */
import type { Predictor, PredictorMatrix } from "@flashwick/core";
import { dequantisePredictorMatrix } from "@flashwick/predictor";

/**
 * The file's bytes. Thresholds, shares and the model's fingerprint are in `__metadata__`, as texts, as the format has it.
 *
 * Format: https://huggingface.co/docs/safetensors/index#format. Cost: four bytes a weight.
 */
export function exportPredictor({ layers, modelFingerprint }: Predictor): Uint8Array {
  const tensors = layers.flatMap(({ layer, w1, w2 }) => [
    { name: `blk.${layer}.fc1.weight`, matrix: w1 },
    { name: `blk.${layer}.fc2.weight`, matrix: w2 },
  ]);
  const metadata = {
    format: "pt",
    model_fingerprint: modelFingerprint,
    thresholds: JSON.stringify(layers.map(({ threshold }) => threshold)),
    activation: "relu between fc1 and fc2; a neuron is named when its score exceeds the layer's threshold",
  };
  const header = new TextEncoder().encode(JSON.stringify({ __metadata__: metadata, ...directory(tensors) }));
  // The format wants elements aligned: the header is filled up with spaces.
  const headerBytes = (header.length + 7) & ~7;
  const dataBytes = tensors.reduce((sum, { matrix }) => sum + sizeOf(matrix), 0);
  const file = new Uint8Array(8 + headerBytes + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.fill(0x20, 8, 8 + headerBytes);
  file.set(header, 8);
  let at = 8 + headerBytes;
  for (const { matrix } of tensors) {
    file.set(new Uint8Array(dequantisePredictorMatrix(matrix).buffer), at);
    at += sizeOf(matrix);
  }
  return file;
}

function directory(tensors: readonly { readonly name: string; readonly matrix: PredictorMatrix }[]) {
  let at = 0;
  return Object.fromEntries(
    tensors.map(({ name, matrix }) => {
      const begin = at;
      at += sizeOf(matrix);
      return [name, { dtype: "F32", shape: [matrix.rows, matrix.cols], data_offsets: [begin, at] }];
    }),
  );
}

function sizeOf({ rows, cols }: PredictorMatrix): number {
  return rows * cols * Float32Array.BYTES_PER_ELEMENT;
}
