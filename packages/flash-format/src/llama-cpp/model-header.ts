/**
 * The header of a GGUF file of llama.cpp's, or of several that are one model, as that of a model: nothing is converted, and everything is used where it lies. An FFN is three matrices,
 * or two without a gate, row by row; of a mixture, three tensors have those of all experts. It carries no checksums; a file of them may lie beside it (checksum-file.ts).
 *
 * Invariant: in what is returned, every tensor that the geometry asks for is there, with its shape and a type that kernels have, inside the file.
 */
import {
  type ByteSource,
  type ExpertLayout,
  hasExperts,
  kvWidth,
  type MatrixLayout,
  type ModelGeometry,
  queryWidth,
} from "@flashwick/core";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { planExpertSlot } from "../expert-slot.js";
import type { DecodedGgufHeader } from "../gguf-decoder.js";
import {
  layerTensors,
  type MatrixTensors,
  type ModelFile,
  type ModelHeader,
  matricesInOrder,
  type ResidentTensor,
} from "../model-file.js";
import { displayMetadata } from "../model-header.js";
import type { TensorShape } from "../model-writer.js";
import { roundUp } from "../record-layout.js";
import { residentTensorsOf } from "../resident-tensors.js";
import { expertTensorsOf } from "./expert-tensors.js";
import { llamaCppGeometry } from "./geometry.js";
import { type ModelPart, openModelParts } from "./split-files.js";
import { placeOf } from "./tensor-places.js";
import { TensorTable } from "./tensor-table.js";

/** Stages of so many neurons' bytes begin on whole cache lines. */
const SLOT_UNIT_BYTES = 64;

/**
 * @param bytes The file's beginning, from which `decoded` was decoded.
 * @param first The file, or the first of a split model. Beside headers, the table of rotary divisors is read, where there is one.
 * @throws As `openModelFile`.
 */
export async function openLlamaCppFile(
  decoded: DecodedGgufHeader,
  bytes: Uint8Array,
  first: ByteSource,
): Promise<ModelFile> {
  const { source, parts } = await openModelParts(decoded, bytes, first);
  const tensors = new TensorTable(parts);
  const rotaryFactors = await readRotaryFactors(tensors, source);
  const geometry = llamaCppGeometry(parts[0]!.metadata, {
    // Asked for only once the architecture is known to be one that runs.
    get vocabSize() {
      return tensors.vocabSize;
    },
    has: (name) => tensors.has(name),
    rotaryFactors,
  });
  const locate: Locate = (shape) =>
    tensors.require(
      shape,
      placeOf(shape, geometry, (name) => tensors.has(name)),
    );
  const ffn = hasExperts(geometry) ? expertsOf(geometry, tensors) : layersOf(geometry, locate);
  const inLayers = new Set(layerTensors(ffn).map(({ name }) => name));
  const residents = residentTensorsOf(geometry)
    .filter(({ name }) => !inLayers.has(name))
    .map(locate);
  const header = Object.freeze({
    geometry: Object.freeze(geometry),
    ...ffn,
    tensors: new Map(residents.map((tensor) => [tensor.name, tensor])),
    records: [],
    columns: [],
    placement: null,
    fingerprint: fingerprintOf(parts, rotaryFactors),
    tokenizerJson: null,
    tokenizerKind: decoded.metadata.has("tokenizer.ggml.model") ? ("ggml" as const) : null,
    fileBytes: parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    dataOffset: tensors.dataOffset,
    values: decoded.metadata,
    metadata: displayMetadata(decoded.metadata),
  });
  return { header, source };
}

/** Over the headers, in their order, and the rotary divisors, which are used as they are read here. */
function fingerprintOf(parts: readonly ModelPart[], rotaryFactors: readonly number[] | null): string {
  const hash = sha256.create();
  for (const { bytes } of parts) hash.update(bytes);
  if (rotaryFactors) hash.update(new Uint8Array(Float32Array.from(rotaryFactors).buffer));
  return bytesToHex(hash.digest());
}

/** What of a header differs between layers that are kept or streamed whole, and experts. */
type FfnTensors = Pick<ModelHeader, "weights" | "matrices" | "experts">;

function layersOf(geometry: ModelGeometry, locate: Locate): FfnTensors {
  const matrices = geometry.layers.map((_, index) => matricesOf(geometry, index, locate));
  return { weights: Object.freeze(matrixLayout(geometry, matrices)), matrices: Object.freeze(matrices), experts: [] };
}

function expertsOf(geometry: ModelGeometry, tensors: TensorTable): FfnTensors {
  const experts = geometry.layers.map((_, index) => expertTensorsOf(geometry, index, tensors));
  const mixtures = experts.filter((layer) => layer !== null);
  const weights: ExpertLayout = {
    layout: "experts",
    dtype: mixtures[0]!.matrices.find(({ role }) => role === "up")!.dtype,
    slotBytes: Math.max(...mixtures.map((layer) => planExpertSlot(layer).sizeBytes)),
  };
  return { weights: Object.freeze(weights), matrices: [], experts: Object.freeze(experts) };
}

/** @throws As `TensorTable.require`. */
type Locate = (shape: TensorShape) => ResidentTensor;

function matricesOf({ dModel, layers }: ModelGeometry, layer: number, locate: Locate): MatrixTensors {
  const { attention, ffn } = layers[layer]!;
  const matrix = (name: string, rows: number, cols = dModel) =>
    locate({ name: `blk.${layer}.${name}.weight`, rows, cols });
  const dQuery = queryWidth(attention);
  return Object.freeze({
    query: matrix("attn_q", dQuery),
    key: matrix("attn_k", kvWidth(attention)),
    value: matrix("attn_v", kvWidth(attention)),
    output: matrix("attn_output", dModel, dQuery),
    ...(ffn.gated ? { gate: matrix("ffn_gate", ffn.dFf) } : {}),
    up: matrix("ffn_up", ffn.dFf),
    down: matrix("ffn_down", dModel, ffn.dFf),
  });
}

function matrixLayout({ layers }: ModelGeometry, matrices: readonly MatrixTensors[]): MatrixLayout {
  const bytesOf = (of: MatrixTensors) => matricesInOrder(of).reduce((sum, [, { sizeBytes }]) => sum + sizeBytes, 0);
  const slots = matrices.map((of, i) => roundUp(bytesOf(of) / layers[i]!.ffn.dFf, SLOT_UNIT_BYTES));
  return { layout: "matrices", dtype: matrices[0]!.up.dtype, slotBytes: Math.max(...slots) };
}

/** f32 `[dims / 2]`, or null where the file has no such table. */
async function readRotaryFactors(tensors: TensorTable, source: ByteSource): Promise<readonly number[] | null> {
  const name = "rope_freqs.weight";
  const count = tensors.lengthOf(name);
  if (count === null) return null;
  const { offset, sizeBytes } = tensors.require({ name, rows: 1, cols: count });
  const bytes = new Uint8Array(sizeBytes);
  await source.read(bytes, offset);
  const factors = [...new Float32Array(bytes.buffer)];
  if (factors.every((factor) => factor > 0 && factor < Number.POSITIVE_INFINITY)) return factors;
  throw tensors.invalid(name, "positive divisors", "others");
}
