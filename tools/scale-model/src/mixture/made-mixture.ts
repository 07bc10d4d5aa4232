/** The demo mixture becomes a GGUF file of a larger geometry: the acting part, in Node. */
import { blockBytes, blockElements, FormatError, type OnProgress } from "@flashwick/core";
import { encodeGgufHeader, type GgufTensor } from "@flashwick/flash-format";
import { type FileSink, fileSink } from "@flashwick/flash-format/node";
import { mixtureMetadata } from "./mixture-metadata.js";
import type { MixtureDType, MixtureTensor } from "./mixture-parts.js";
import { type MixtureScale, type MixtureTarget, planMixture } from "./mixture-size.js";
import { type MixtureSource, openMixtureSource } from "./mixture-source.js";
import { type HeadNorms, type MixtureForm, mixtureTensors } from "./mixture-tensors.js";
import { PartBytes } from "./part-bytes.js";

const ALIGNMENT = 32;

export interface MixtureOptions extends MixtureForm {
  readonly checkpointDir: string;
  readonly target: MixtureTarget;
  readonly outPath: string;
  readonly force: boolean;
  /** Phase "scale", a step a tensor. */
  readonly onProgress?: OnProgress;
}

export interface MixtureResult {
  readonly model: string;
  readonly fileBytes: number;
  readonly expertBytes: number;
  readonly tensors: number;
}

/**
 * Writes the file.
 *
 * @throws {InputError} {UnsupportedError} {FormatError} for a size or a checkpoint that cannot be widened. {IoError} `IO_EXISTS`, `IO_NO_SPACE`;
 *   then nothing is left.
 * Cost: about 200 MB of memory, and the time that the device takes to write.
 */
export async function makeMixture(options: MixtureOptions): Promise<MixtureResult> {
  const source = await openMixtureSource(options.checkpointDir);
  try {
    const scale = planMixture(source.sizes, options.target);
    const sink = await fileSink(options.outPath, { force: options.force });
    try {
      return await writeMixture(sink, source, scale, options);
    } catch (error) {
      await sink.abandon();
      throw error;
    }
  } finally {
    await source.close();
  }
}

async function writeMixture(
  sink: FileSink,
  source: MixtureSource,
  scale: MixtureScale,
  options: MixtureOptions,
): Promise<MixtureResult> {
  const tensors = mixtureTensors(scale, await readHeadNorms(source), options);
  const placed = placeTensors(tensors);
  const metadata = mixtureMetadata(source, scale, options.dtype);
  const header = encodeGgufHeader({ metadata, tensors: placed }).bytes;
  const dataOffset = aligned(header.length);
  await sink.write(header, 0);
  const bytes = new PartBytes((name) => source.read(name));
  for (const [i, tensor] of tensors.entries()) {
    let at = dataOffset + placed[i]!.offset;
    for await (const piece of bytes.of(tensor)) {
      await sink.write(piece, at);
      at += piece.length;
    }
    options.onProgress?.({ phase: "scale", loaded: i + 1, total: tensors.length, unit: "steps", detail: tensor.name });
  }
  const fileBytes = dataOffset + placed.at(-1)!.offset + aligned(tensorBytes(tensors.at(-1)!));
  await sink.commit(fileBytes);
  const experts = tensors.filter(({ name }) => name.includes("_exps.weight"));
  const expertBytes = experts.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  return { model: options.outPath, fileBytes, expertBytes, tensors: tensors.length };
}

/** @throws {FormatError} `CHECKPOINT_TENSOR_VALUE` unless all heads have the same weights, as a norm of one head asks for. */
async function readHeadNorms(source: MixtureSource): Promise<HeadNorms> {
  const read = async (layer: number, which: "q" | "k") => {
    const name = `model.layers.${layer}.self_attn.${which}_norm.weight`;
    const weights = await source.read(name);
    const { headDim } = source.sizes;
    if (weights.every((weight, i) => weight === weights[i % headDim])) return weights;
    throw new FormatError(
      "CHECKPOINT_TENSOR_VALUE",
      `${name}: expected the same ${headDim} weights for every head, as the demo has`,
      {
        details: { tensor: name },
      },
    );
  };
  const layers = Array.from({ length: source.sizes.nLayers }, (_, layer) => layer);
  return Promise.all(layers.map(async (layer) => ({ q: await read(layer, "q"), k: await read(layer, "k") })));
}

const GGML_TYPES = { f32: "F32", q4_0: "Q4_0", q8_0: "Q8_0" } as const satisfies Record<
  MixtureDType,
  GgufTensor["type"]
>;

function placeTensors(tensors: readonly MixtureTensor[]): GgufTensor[] {
  let offset = 0;
  return tensors.map((tensor) => {
    const placed = { name: tensor.name, shape: tensor.shape, type: GGML_TYPES[tensor.dtype], offset };
    offset += aligned(tensorBytes(tensor));
    return placed;
  });
}

function tensorBytes({ dtype, shape }: MixtureTensor): number {
  return (shape.reduce((product, n) => product * n, 1) / blockElements(dtype)) * blockBytes(dtype);
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
