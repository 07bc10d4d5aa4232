/**
 * Second moments of what FFNs saw of a text, for conversions that make up for what they lose: a container (container.ts)
 * of kind "moments". SPEC.md, "Moment files".
 *
 * A symmetric matrix is stored as its lower triangle, row after row: entry (i, j ≤ i) at i · (i + 1) / 2 + j.
 */
import { assert, type ByteSink, type ByteSource, FormatError } from "@flashwick/core";
import { readChecked } from "./checked-read.js";
import {
  type CheckedTensor,
  type Container,
  encodeContainerHeader,
  planContainer,
  readContainer,
  requireTensor,
} from "./container.js";
import { crc32c } from "./crc32c.js";
import { isFingerprint } from "./fingerprint.js";
import type { GgufValue } from "./gguf.js";

/** Moments of one layer, over all tokens of a text. */
export interface LayerMoments {
  /** Mean of x · xᵀ, x the FFN's input: f32 lower triangle of `[dModel, dModel]`. */
  readonly input: Float32Array;
  /** Mean of a · aᵀ, a the activations that meet the down projection: f32 lower triangle of `[dFf, dFf]`. */
  readonly activation: Float32Array;
}

/** What a file of moments says about itself. */
export interface MomentsHeader {
  /** Of the model that ran over the text. */
  readonly modelFingerprint: string;
  readonly tokens: number;
  readonly dModel: number;
  /** Neurons of each layer. */
  readonly dFf: readonly number[];
  readonly fileBytes: number;
}

/** An open file of moments: a layer is read when it is asked for. */
export interface MomentsSource extends MomentsHeader {
  /**
   * @throws {IntegrityError} `INTEGRITY_TENSOR`. {FormatError} `FORMAT_INVALID` for values that are no moments.
   * Cost: reads the layer; memory as {@link LayerMoments}.
   */
  readLayer(layer: number, signal?: AbortSignal): Promise<LayerMoments>;
}

const KEY_FINGERPRINT = "flashwick.moments.model_fingerprint";
const KEY_TOKENS = "flashwick.moments.tokens";
const KEY_LAYERS = "flashwick.moments.block_count";
const KEY_D_MODEL = "flashwick.moments.embedding_length";
const KEY_D_FF = "flashwick.moments.feed_forward_lengths";
const MAX_LAYERS = 4096;
/** A triangle of twice as many rows would be longer than a typed array of Node 20. */
const MAX_WIDTH = 2 ** 15;

const text = (value: string): GgufValue => ({ type: "string", value });
const GENERAL = new Map([
  ["general.architecture", text("flashwick-moments")],
  ["general.type", text("moments")],
]);

/** Elements of the lower triangle of a square matrix of `rows` rows, its diagonal included. */
export function triangleLength(rows: number): number {
  return (rows * (rows + 1)) / 2;
}

/** Bytes of the matrices of a file of moments. */
export function momentsBytes({ dModel, dFf }: Pick<MomentsHeader, "dModel" | "dFf">): number {
  const elements = dFf.reduce((sum, rows) => sum + triangleLength(rows) + triangleLength(dModel), 0);
  return elements * Float32Array.BYTES_PER_ELEMENT;
}

/**
 * Writes moments. On any failure the sink is abandoned.
 *
 * @param layers One for each of the header's `dFf`.
 * @returns The file's size in bytes.
 * @throws {FormatError} `FORMAT_LIMIT` for FFNs wider than 2^15. {IoError} as writing fails.
 */
export async function writeMomentsFile(
  sink: ByteSink,
  header: Omit<MomentsHeader, "fileBytes">,
  layers: readonly LayerMoments[],
): Promise<number> {
  try {
    checkWidths(header, sink.name);
    assert(isFingerprint(header.modelFingerprint), "a model fingerprint is 64 hex digits");
    const matrices = layers.flatMap(({ input, activation }) => [input, activation]);
    const pieces = matrices.map((values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    const plan = planContainer("moments", GENERAL, encodeFacts(header), tensorsOf(header));
    for (const [i, { name, sizeBytes, offset }] of plan.tensors.entries()) {
      assert(pieces[i]?.length === sizeBytes, `${name} has ${sizeBytes} bytes`);
      await sink.write(pieces[i]!, offset);
    }
    const crcs = Uint32Array.from(pieces, (bytes) => crc32c(bytes));
    await sink.write(encodeContainerHeader(plan, crcs), 0);
    await sink.commit(plan.fileBytes);
    return plan.fileBytes;
  } catch (error) {
    // Should abandoning fail as well, the first failure is the one to report.
    await sink.abandon().catch(() => {});
    throw error;
  }
}

/** @throws {FormatError} `FORMAT_…` for what is no file of moments. {IntegrityError} `INTEGRITY_HEADER`. */
export async function readMomentsHeader(source: ByteSource): Promise<MomentsHeader> {
  return decodeFacts(await readContainer(source, "moments"));
}

/**
 * Opens a file of moments. Does not take ownership of `source`.
 *
 * @throws As {@link readMomentsHeader}; {FormatError} `FORMAT_MISSING` for a matrix that is not there.
 */
export async function openMomentsFile(source: ByteSource): Promise<MomentsSource> {
  const container = await readContainer(source, "moments");
  const header = decodeFacts(container);
  const tensors = tensorsOf(header).map((wanted) => requireTensor(container, wanted));
  return {
    ...header,
    async readLayer(layer, signal) {
      const [input, activation] = tensors.slice(2 * layer, 2 * layer + 2);
      assert(input && activation, `layer ${layer} of ${header.dFf.length}`);
      return {
        input: await readTriangle(source, input, header.dModel, signal),
        activation: await readTriangle(source, activation, header.dFf[layer]!, signal),
      };
    },
  };
}

async function readTriangle(
  source: ByteSource,
  tensor: CheckedTensor,
  rows: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const values = new Float32Array(triangleLength(rows));
  await readChecked(source, tensor.name, tensor, new Uint8Array(values.buffer), signal);
  if (areMoments(values, rows)) return values;
  throw new FormatError(
    "FORMAT_INVALID",
    `${source.name}: tensor "${tensor.name}" holds values that are no means of squares and products; record it again`,
    { details: { tensor: tensor.name } },
  );
}

/** Finite, and no mean of squares below zero. */
function areMoments(triangle: Float32Array, rows: number): boolean {
  for (let i = 0; i < rows; i++) if (!(triangle[triangleLength(i + 1) - 1]! >= 0)) return false;
  return triangle.every(Number.isFinite);
}

function tensorsOf({ dModel, dFf }: Pick<MomentsHeader, "dModel" | "dFf">) {
  return dFf.flatMap((rows, layer) => [
    { name: `blk.${layer}.ffn_input.moments`, type: "F32" as const, shape: [triangleLength(dModel)] },
    { name: `blk.${layer}.ffn_act.moments`, type: "F32" as const, shape: [triangleLength(rows)] },
  ]);
}

function encodeFacts(header: Omit<MomentsHeader, "fileBytes">): Map<string, GgufValue> {
  return new Map<string, GgufValue>([
    [KEY_FINGERPRINT, text(header.modelFingerprint)],
    [KEY_TOKENS, { type: "u64", value: BigInt(header.tokens) }],
    [KEY_LAYERS, { type: "u32", value: header.dFf.length }],
    [KEY_D_MODEL, { type: "u32", value: header.dModel }],
    [KEY_D_FF, { type: "array", of: "u32", value: Uint32Array.from(header.dFf) }],
  ]);
}

function decodeFacts({ metadata, fileBytes }: Container): MomentsHeader {
  const modelFingerprint = metadata.string(KEY_FINGERPRINT);
  if (!isFingerprint(modelFingerprint)) throw metadata.invalid(KEY_FINGERPRINT, "64 hex digits", "something else");
  const header = {
    modelFingerprint,
    tokens: metadata.integer(KEY_TOKENS, 1, Number.MAX_SAFE_INTEGER),
    dModel: metadata.integer(KEY_D_MODEL, 1, MAX_WIDTH),
    dFf: Array.from(metadata.array(KEY_D_FF, "u32", metadata.integer(KEY_LAYERS, 1, MAX_LAYERS))),
    fileBytes,
  };
  checkWidths(header, metadata.fileName);
  return header;
}

/** @throws {FormatError} `FORMAT_LIMIT`. */
function checkWidths({ dModel, dFf }: Pick<MomentsHeader, "dModel" | "dFf">, name: string): void {
  const odd = [dModel, ...dFf].find((width) => width < 1 || width > MAX_WIDTH);
  if (odd === undefined) return;
  throw new FormatError("FORMAT_LIMIT", `${name}: moments of ${odd} rows, expected 1 to ${MAX_WIDTH}`);
}
