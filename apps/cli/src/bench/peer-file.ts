/**
 * A model file for llama.cpp of the geometry of a file of ours, f16, weights of noise. What its tokens say means nothing; what it reads and
 * multiplies is what a real one would.
 */
import { MiB, type OnProgress, Random } from "@flashwick/core";
import { encodeGgufHeader, type ModelHeader } from "@flashwick/flash-format";
import { type FileSink, fileSink } from "@flashwick/flash-format/node";
import { type PeerFamily, type PeerTensor, peerMetadata, peerTensors } from "./peer-forms.js";

const ALIGNMENT = 32;
const BLOCK_BYTES = 16 * MiB;
const SEED = 5;

/**
 * Writes the file, whole or not at all.
 *
 * @param header Of a model of that family.
 * @throws {UnsupportedError} for other models. {IoError} as `fileSink`.
 * Cost: sequential writing; 16 MiB of memory.
 */
export async function writePeerFile(
  path: string,
  family: PeerFamily,
  header: Pick<ModelHeader, "geometry" | "tokenizerJson">,
  { onProgress, signal }: { readonly onProgress?: OnProgress; readonly signal?: AbortSignal },
): Promise<void> {
  const tensors = placed(peerTensors(family, header));
  const { bytes } = encodeGgufHeader({ metadata: peerMetadata(family, header), tensors });
  const dataOffset = align(bytes.length);
  const last = tensors.at(-1)!;
  const total = dataOffset + last.offset + sizeOf(last);
  const sink = await fileSink(path, { force: true });
  try {
    await sink.write(bytes, 0);
    const noise = halvesOfNoise();
    for (const tensor of tensors) {
      signal?.throwIfAborted();
      await fillTensor(sink, tensor, dataOffset + tensor.offset, noise);
      onProgress?.({ phase: "peer's file", loaded: dataOffset + tensor.offset, total, unit: "bytes" });
    }
    await sink.commit(total);
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}

/** Offsets in the data section. */
function placed(tensors: readonly PeerTensor[]) {
  let offset = 0;
  return tensors.map((tensor) => {
    const at = { ...tensor, offset };
    offset = align(offset + sizeOf(tensor));
    return at;
  });
}

async function fillTensor(sink: FileSink, tensor: PeerTensor, offset: number, noise: Uint8Array): Promise<void> {
  const size = sizeOf(tensor);
  const block =
    tensor.fill === "noise"
      ? noise
      : new Uint8Array(new Float32Array(size / 4).fill(tensor.fill === "ones" ? 1 : 0).buffer);
  for (let at = 0; at < size; at += block.length) {
    await sink.write(block.subarray(0, Math.min(block.length, size - at)), offset + at);
  }
}

/** Binary16 of magnitudes from 2^-10 to 2^-6, both signs: nothing overflows, and no device can compress it away. */
function halvesOfNoise(): Uint8Array {
  const random = new Random(SEED);
  const halves = new Uint16Array(BLOCK_BYTES / 2);
  for (let i = 0; i < halves.length; i++) {
    const word = random.next();
    halves[i] = ((word >>> 31) << 15) | ((5 + ((word >>> 20) & 3)) << 10) | (word & 0x3ff);
  }
  return new Uint8Array(halves.buffer);
}

function sizeOf({ shape, type }: Pick<PeerTensor, "shape" | "type">): number {
  return shape.reduce((product, n) => product * n, type === "F16" ? 2 : 4);
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}
