/**
 * Reads a file from front to back and compares every byte with what the header promises: records and tensors by their
 * checksums, padding by its being zero. So any one flipped bit of the file is found.
 *
 * Memory: two read buffers, and eight bytes per neuron of one layer.
 */
import { type ByteSource, isFlashwickError, type OnProgress } from "@flashwick/core";
import { type Container, type ContainerKind, type ContainerTensor, readContainer } from "./container.js";
import { crc32c } from "./crc32c.js";
import type { ModelFile } from "./model-file.js";
import { readRecordChecksums } from "./read-model.js";
import { roundUp } from "./record-layout.js";
import { readSequentially } from "./sequential-read.js";

/** Large sequential reads; at least one record. */
const CHUNK_BYTES = 4 * 1024 * 1024;
/** Findings listed; a file that is bad all over need not fill memory with saying so. */
const MAX_LISTED = 1000;

export interface BadBytes {
  readonly kind: "record" | "tensor" | "header" | "padding";
  readonly layer?: number;
  readonly neuron?: number;
  readonly tensor?: string;
  /** Absolute, of the damaged piece's start. */
  readonly offset: number;
}

export interface VerifyResult {
  readonly ok: boolean;
  readonly recordsChecked: number;
  readonly bytesChecked: number;
  /** In file order, the first thousand. */
  readonly bad: readonly BadBytes[];
  /** How many there are in all. */
  readonly badCount: number;
}

export interface VerifyOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/**
 * Checks every byte of a model file.
 *
 * @throws {IoError} `IO_READ` if the device fails; {FormatError} `FORMAT_TRUNCATED` if the file has shrunk since it was opened. The signal's reason.
 * Cost: one sequential pass over the file.
 */
export async function verifyModelFile(file: ModelFile, options: VerifyOptions = {}): Promise<VerifyResult> {
  return verify(file.source, "model", options, async (run) => {
    for (const { layer } of file.header.records) {
      run.expect(layer, file.header.weights.strideBytes, await checksumsOf(file, layer, options.signal));
    }
  });
}

/** The same for a predictor file. */
export async function verifyPredictorFile(source: ByteSource, options: VerifyOptions = {}): Promise<VerifyResult> {
  return verify(source, "predictor", options, async () => {});
}

/** Null if the checksums themselves are damaged: they are found as a tensor, and say nothing about the records. */
async function checksumsOf(file: ModelFile, layer: number, signal?: AbortSignal): Promise<Uint32Array | null> {
  try {
    return await readRecordChecksums(file, layer, signal);
  } catch (error) {
    if (isFlashwickError(error) && error.code === "INTEGRITY_TENSOR") return null;
    throw error;
  }
}
