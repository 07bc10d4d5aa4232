/**
 * The file form of a trace, specified in SPEC.md: a header, the sets as differences in varints, a checksum. About 1.2 bytes a
 * named neuron where one in twenty is named.
 */
import { FormatError } from "@flashwick/core";
import { checkTrace, type NeuronTrace, type TraceOrigin } from "./neuron-trace.js";

/** "FWTR", little-endian. */
const MAGIC = 0x52545746;
/** Without an origin, and with one. */
const VERSIONS = [1, 2];
const HEADER_BYTES = 20;
const CHECKSUM_BYTES = 4;
const FINGERPRINT_BYTES = 32;
/** Fingerprint and kind of the sets; importances follow. */
const ORIGIN_BYTES = FINGERPRINT_BYTES + 4;
/** Bounds of what a header may claim: far above any model's. */
const MAX_LAYERS = 4096;
const MAX_NEURONS = 1 << 24;
/** Bits of the largest varint: neuron numbers and counts are below 2^24. */
const MAX_VARINT_BITS = 28;

/**
 * @throws {InputError} `INPUT_INVALID` if the trace is not as its type says. {FormatError} `FORMAT_LIMIT` if it has more than 4096
 * layers, or 2^24 neurons a layer.
 * Cost: O(named); allocates the file once.
 */
export function encodeTrace(trace: NeuronTrace): Uint8Array {
  checkTrace(trace);
  const encoder = new TraceEncoder(trace.nLayers, trace.dFf);
  for (const sets of trace.tokens) encoder.add(sets);
  return encoder.finish(trace.origin);
}

/** Encodes a trace as its tokens come: holds the file's bytes and no sets. */
export class TraceEncoder {
  readonly nLayers: number;
  readonly dFf: number;
  tokens = 0;
  #body = new Uint8Array(1 << 16);
  #used = 0;

  /** @throws {FormatError} `FORMAT_LIMIT`. */
  constructor(nLayers: number, dFf: number) {
    checkLimits({ nLayers, dFf }, "trace");
    this.nLayers = nLayers;
    this.dFf = dFf;
  }

  /** @param sets One a layer. @throws {InputError} `INPUT_INVALID` if they are not ascending sets of the trace's shape. */
  add(sets: readonly Uint32Array[]): void {
    checkTrace({ nLayers: this.nLayers, dFf: this.dFf, tokens: [sets] });
    for (const set of sets) {
      this.#reserve((set.length + 1) * (MAX_VARINT_BITS / 7));
      this.#varint(set.length);
      for (let i = 0, next = 0; i < set.length; next = set[i++]! + 1) this.#varint(set[i]! - next);
    }
    this.tokens++;
  }

  /** The whole file: version 2 with an origin, version 1 without. */
  finish(origin?: TraceOrigin): Uint8Array {
    const tail = origin ? encodeOrigin(origin) : new Uint8Array(0);
    const end = HEADER_BYTES + this.#used + tail.length;
    const file = new Uint8Array(end + CHECKSUM_BYTES);
    const view = new DataView(file.buffer);
    const header = [MAGIC, origin ? 2 : 1, this.nLayers, this.dFf, this.tokens];
    for (const [i, value] of header.entries()) view.setUint32(4 * i, value, true);
    file.set(this.#body.subarray(0, this.#used), HEADER_BYTES);
    file.set(tail, end - tail.length);
    view.setUint32(end, fnv1a(file.subarray(0, end)), true);
    return file;
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) this.#body[this.#used++] = (rest & 0x7f) | 0x80;
    this.#body[this.#used++] = rest;
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#body.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#body.length, this.#used + bytes));
    larger.set(this.#body.subarray(0, this.#used));
    this.#body = larger;
  }
}

/**
 * @param name For messages: a path, a URL.
 * @throws {FormatError} `FORMAT_INVALID`, `FORMAT_VERSION`, `FORMAT_LIMIT`, or `FORMAT_TRUNCATED` with the token where it ends.
 * Cost: O(file); allocates a small multiple of the file's size, whatever its header claims.
 */
export function decodeTrace(file: Uint8Array, name = "trace"): NeuronTrace {
  const { version, nLayers, dFf, nTokens } = decodeHeader(file, name);
  const reader = new SetReader(file, dFf, name);
  const tokens: Uint32Array[][] = [];
  for (let t = 0; t < nTokens; t++) {
    const layers: Uint32Array[] = [];
    for (let layer = 0; layer < nLayers; layer++) layers.push(reader.set(t, layer));
    tokens.push(layers);
  }
  if (version === 1) {
    checkEnd(file, reader.at, name);
    return { nLayers, dFf, tokens };
  }
  const end = reader.at + originBytes({ nLayers, dFf });
  checkEnd(file, end, name);
  return { nLayers, dFf, tokens, origin: decodeOrigin(file.subarray(reader.at, end), { nLayers, dFf }, name) };
}

type TraceShape = Pick<NeuronTrace, "nLayers" | "dFf">;

function originBytes({ nLayers, dFf }: TraceShape): number {
  return ORIGIN_BYTES + 4 * nLayers * dFf;
}

function encodeOrigin({ fingerprint, named, importance }: TraceOrigin): Uint8Array {
  const dFf = importance[0]!.length;
  const bytes = new Uint8Array(originBytes({ nLayers: importance.length, dFf }));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < FINGERPRINT_BYTES; i++) bytes[i] = Number.parseInt(fingerprint.slice(2 * i, 2 * i + 2), 16);
  view.setUint32(FINGERPRINT_BYTES, Number(named), true);
  for (const [layer, values] of importance.entries()) {
    for (const [i, value] of values.entries()) view.setFloat32(ORIGIN_BYTES + 4 * (layer * dFf + i), value, true);
  }
  return bytes;
}

/** @throws {FormatError} `FORMAT_INVALID`. */
function decodeOrigin(bytes: Uint8Array, { nLayers, dFf }: TraceShape, name: string): TraceOrigin {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = view.getUint32(FINGERPRINT_BYTES, true);
  if (kind > 1)
    throw new FormatError("FORMAT_INVALID", `${name}: sets of kind ${kind}, expected 0 or 1; record it again`);
  const importance = Array.from({ length: nLayers }, (_, layer) =>
    Float32Array.from({ length: dFf }, (_, i) => view.getFloat32(ORIGIN_BYTES + 4 * (layer * dFf + i), true)),
  );
  const layer = importance.findIndex((values) =>
    values.some((value) => !(value >= 0 && value < Number.POSITIVE_INFINITY)),
  );
  if (layer >= 0) {
    const message = `${name}: layer ${layer} has importances that are no numbers from 0 on; record it again`;
    throw new FormatError("FORMAT_INVALID", message);
  }
  const hex = Array.from(bytes.subarray(0, FINGERPRINT_BYTES), (byte) => byte.toString(16).padStart(2, "0"));
  return { fingerprint: hex.join(""), named: kind === 1, importance };
}

function decodeHeader(file: Uint8Array, name: string) {
  if (file.byteLength < HEADER_BYTES) throw truncated(name, file.byteLength, "in its header");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const u32 = (offset: number) => view.getUint32(offset, true);
  if (u32(0) !== MAGIC) {
    throw new FormatError("FORMAT_INVALID", `${name} @ 0: expected a neuron trace ("FWTR"), found other bytes`);
  }
  const version = u32(4);
  if (!VERSIONS.includes(version)) {
    const message = `${name} @ 4: trace version ${version}, expected ${VERSIONS.join(" or ")}; record it again`;
    throw new FormatError("FORMAT_VERSION", message);
  }
  const header = { version, nLayers: u32(8), dFf: u32(12), nTokens: u32(16) };
  checkLimits(header, name);
  return header;
}

function checkLimits({ nLayers, dFf }: { readonly nLayers: number; readonly dFf: number }, name: string): void {
  if (nLayers >= 1 && nLayers <= MAX_LAYERS && dFf >= 1 && dFf <= MAX_NEURONS) return;
  throw new FormatError(
    "FORMAT_LIMIT",
    `${name} @ 8: ${nLayers} layers of ${dFf} neurons, expected 1 to ${MAX_LAYERS} and 1 to ${MAX_NEURONS}; record it again`,
  );
}

function checkEnd(file: Uint8Array, at: number, name: string): void {
  const left = file.byteLength - at;
  if (left < CHECKSUM_BYTES) throw truncated(name, file.byteLength, "in its checksum");
  if (left > CHECKSUM_BYTES) {
    const message = `${name} @ ${at + CHECKSUM_BYTES}: expected the end, found ${left - CHECKSUM_BYTES} bytes more`;
    throw new FormatError("FORMAT_INVALID", message);
  }
  const expected = fnv1a(file.subarray(0, at));
  const found = new DataView(file.buffer, file.byteOffset + at, CHECKSUM_BYTES).getUint32(0, true);
  if (found === expected) return;
  throw new FormatError(
    "FORMAT_INVALID",
    `${name} @ ${at}: checksum is ${found}, expected ${expected}; the file is damaged, record it again`,
    { details: { offset: at, found, expected } },
  );
}

class SetReader {
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
    // A neuron takes a byte at least, so a hostile count allocates no more than the file is long.
    if (count > this.#file.byteLength - this.at) throw this.#endsAt(token, layer);
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
    for (let shift = 0; shift < MAX_VARINT_BITS; shift += 7) {
      if (this.at >= this.#file.byteLength) throw this.#endsAt(token, layer);
      const byte = this.#file[this.at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw this.#invalid(token, layer, `a number of more than ${MAX_VARINT_BITS} bits`);
  }

  #endsAt(token: number, layer: number): FormatError {
    return truncated(this.#name, this.#file.byteLength, `at token ${token}, layer ${layer}`);
  }

  #invalid(token: number, layer: number, found: string): FormatError {
    const message = `${this.#name} @ ${this.at}: token ${token}, layer ${layer}: found ${found}; the file is damaged`;
    return new FormatError("FORMAT_INVALID", message);
  }
}

/** 32-bit FNV-1a: every step is a bijection of the state, so no change of a single byte goes unnoticed. */
function fnv1a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

function truncated(name: string, sizeBytes: number, where: string): FormatError {
  const message = `${name}: the trace ends after ${sizeBytes} bytes, ${where}; it is truncated, record it again`;
  return new FormatError("FORMAT_TRUNCATED", message, { details: { sizeBytes } });
}
