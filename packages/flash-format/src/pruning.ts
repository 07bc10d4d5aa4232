/** What a model file says of neurons that were left out of it. SPEC.md, "Pruning". */
import { IntegrityError, type ModelGeometry } from "@flashwick/core";
import { BLANK_FINGERPRINT, isFingerprint } from "./fingerprint.js";
import type { GgufValue } from "./gguf.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import type { Pruning } from "./model-file.js";
import type { PruningSpec, TensorShape } from "./model-writer.js";

const KEY_NEURONS = "flashwick.pruned.neurons";
const KEY_TRACE = "flashwick.pruned.trace";
const KEY_FROM = "flashwick.pruned.from";

/** The share of a model's neurons that were left out. */
export function prunedShare({ neurons }: Pick<Pruning, "neurons">, { layers }: Pick<ModelGeometry, "layers">): number {
  const all = neurons.reduce((sum, count) => sum + count, 0);
  return 1 - layers.reduce((sum, { ffn }) => sum + ffn.dFf, 0) / all;
}

/** The metadata of a file that is yet to be written; the fingerprint follows in {@link prunedFacts}. */
export function encodePruning(pruned: PruningSpec | null): [string, GgufValue][] {
  if (!pruned) return [];
  return [
    [KEY_NEURONS, { type: "array", of: "u32", value: Uint32Array.from(pruned.neurons) }],
    [KEY_TRACE, { type: "string", value: pruned.trace }],
    [KEY_FROM, { type: "string", value: BLANK_FINGERPRINT }],
  ];
}

/**
 * What is known once all weights have been read.
 *
 * @param from Fingerprint of the checkpoint with all neurons.
 * @throws {IntegrityError} `INTEGRITY_FINGERPRINT` where the trace is another model's.
 */
export function prunedFacts({ traceOf }: PruningSpec, from: string): [string, GgufValue][] {
  if (traceOf === null || traceOf === from) return [[KEY_FROM, { type: "string", value: from }]];
  throw new IntegrityError(
    "INTEGRITY_FINGERPRINT",
    `the trace that chooses neurons is of the model ${traceOf.slice(0, 12)}…, but this checkpoint is ${from.slice(0, 12)}…; ` +
      "convert the checkpoint without --prune and record a trace of that file",
    { details: { expected: from, found: traceOf } },
  );
}

/** The shape that a resident tensor, or a layer's records (`blk.<l>.ffn`), would have with all neurons. */
export function unprunedShape(shape: TensorShape, { neurons }: Pick<PruningSpec, "neurons">): TensorShape {
  const [, layer, bias] = /^blk\.(\d+)\.ffn(_(?:gate|up)\.bias)?$/.exec(shape.name) ?? [];
  if (layer === undefined) return shape;
  const count = neurons[Number(layer)]!;
  return bias ? { ...shape, cols: count } : { ...shape, rows: count };
}

/** @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`. */
export function decodePruning(metadata: GgufMetadata, { layers }: ModelGeometry, isPlaced: boolean): Pruning | null {
  if (!metadata.has(KEY_NEURONS)) return null;
  if (!isPlaced) throw metadata.invalid("flashwick.placement", `"table" beside ${KEY_NEURONS}`, "another");
  const neurons = Array.from(metadata.array(KEY_NEURONS, "u32", layers.length));
  const tooFew = neurons.findIndex((count, layer) => count < layers[layer]!.ffn.dFf);
  if (tooFew >= 0) {
    const expected = `at least the ${layers[tooFew]!.ffn.dFf} neurons that layer ${tooFew} has`;
    throw metadata.invalid(KEY_NEURONS, expected, `${neurons[tooFew]}`);
  }
  return { neurons, trace: decodeHash(metadata, KEY_TRACE), from: decodeHash(metadata, KEY_FROM) };
}

function decodeHash(metadata: GgufMetadata, key: string): string {
  const text = metadata.string(key);
  if (isFingerprint(text)) return text;
  throw metadata.invalid(key, "64 hex digits", JSON.stringify(text.slice(0, 80)));
}
