/**
 * A recorded use of neurons: which set each token named in each layer. The file form:
 *
 *     "FWTR" | u32 version = 1 | u32 nLayers | u32 dFf | u32 nTokens | for each token, for each layer:
 *     varint count | varint first neuron | varint (neuron − previous − 1) …
 *
 * All u32 little-endian; varints are LEB128, seven bits a byte, low ones first.
 */
import { FormatError } from "@flashwick/core";

export interface NeuronTrace {
  readonly nLayers: number;
  readonly dFf: number;
  /** `tokens[t][layer]`: ascending, distinct neurons. */
  readonly tokens: readonly (readonly Uint32Array[])[];
}

const MAGIC = 0x52545746;
const VERSION = 1;
const HEADER_BYTES = 20;
/** Bounds of what a header may claim. */
const MAX_LAYERS = 4096;
const MAX_NEURONS = 1 << 24;

export function encodeTrace(trace: NeuronTrace): Uint8Array {
  const bytes: number[] = [];
  for (const layers of trace.tokens) {
    for (const set of layers) {
      pushVarint(bytes, set.length);
      let next = 0;
      for (const neuron of set) {
        pushVarint(bytes, neuron - next);
        next = neuron + 1;
      }
    }
  }
  const file = new Uint8Array(HEADER_BYTES + bytes.length);
  const header = new DataView(file.buffer);
  for (const [i, value] of [MAGIC, VERSION, trace.nLayers, trace.dFf, trace.tokens.length].entries()) {
    header.setUint32(4 * i, value, true);
  }
  file.set(bytes, HEADER_BYTES);
  return file;
}

/**
 * @throws {FormatError} `FORMAT_INVALID`, `FORMAT_VERSION`, `FORMAT_LIMIT`, or `FORMAT_TRUNCATED` with the token where it ends.
 */
export function decodeTrace(file: Uint8Array, name = "trace"): NeuronTrace {
  if (file.byteLength < HEADER_BYTES) throw cutOff(name, file.byteLength, "in its header");
  const header = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const [magic, version, nLayers, dFf, nTokens] = [0, 4, 8, 12, 16].map((at) => header.getUint32(at, true)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  if (magic !== MAGIC)
    throw new FormatError("FORMAT_INVALID", `${name} @ 0: expected a neuron trace ("FWTR"), found other bytes`);
  if (version !== VERSION) {
    throw new FormatError(
      "FORMAT_VERSION",
      `${name} @ 4: trace version ${version}, expected ${VERSION}; record it again`,
    );
  }
  // Every set takes a byte at least, so a hostile count cannot make us allocate more than the file is long.
  if (nLayers < 1 || nLayers > MAX_LAYERS || dFf < 1 || dFf > MAX_NEURONS) {
    throw new FormatError("FORMAT_LIMIT", `${name} @ 8: ${nLayers} layers of ${dFf} neurons are out of range`);
  }
  const reader = new TraceReader(file, dFf, name);
  const tokens: Uint32Array[][] = [];
  for (let t = 0; t < nTokens; t++) {
    tokens.push(Array.from({ length: nLayers }, (_, layer) => reader.set(t, layer)));
  }
  if (reader.at !== file.byteLength) {
    throw new FormatError(
      "FORMAT_INVALID",
      `${name} @ ${reader.at}: expected the end, found ${file.byteLength - reader.at} bytes more`,
    );
  }
  return { nLayers, dFf, tokens };
}

class TraceReader {
  at = HEADER_BYTES;
  readonly #file: Uint8Array;
  readonly #dFf: number;
  readonly #name: string;

  constructor(file: Uint8Array, dFf: number, name: string) {
    this.#file = file;
    this.#dFf = dFf;
    this.#name = name;
  }

  set(token: number, layer: number): Uint32Array {
    const count = this.#varint(token, layer);
    if (count > this.#dFf) throw this.#invalid(token, layer, `${count} neurons of ${this.#dFf}`);
    const set = new Uint32Array(count);
    let next = 0;
    for (let i = 0; i < count; i++) {
      const neuron = next + this.#varint(token, layer);
      if (neuron >= this.#dFf) throw this.#invalid(token, layer, `neuron ${neuron} of ${this.#dFf}`);
      set[i] = neuron;
      next = neuron + 1;
    }
    return set;
  }

  #varint(token: number, layer: number): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#file[this.at];
      if (byte === undefined) throw cutOff(this.#name, this.#file.byteLength, `at token ${token}, layer ${layer}`);
      this.at++;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw this.#invalid(token, layer, "a number of more than 35 bits");
  }

  #invalid(token: number, layer: number, found: string): FormatError {
    return new FormatError(
      "FORMAT_INVALID",
      `${this.#name} @ ${this.at}: token ${token}, layer ${layer}: found ${found}`,
    );
  }
}

function pushVarint(bytes: number[], value: number): void {
  for (; value >= 0x80; value = Math.floor(value / 128)) bytes.push((value & 0x7f) | 0x80);
  bytes.push(value);
}

function cutOff(name: string, sizeBytes: number, where: string): FormatError {
  return new FormatError(
    "FORMAT_TRUNCATED",
    `${name}: the trace ends after ${sizeBytes} bytes, ${where}; record it again`,
  );
}
