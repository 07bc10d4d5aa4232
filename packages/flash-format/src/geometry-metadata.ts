/**
 * A geometry as metadata, and back. Sizes of the whole model have llama.cpp's keys (`<arch>.block_count`, …); the composition is one JSON text,
 * `flashwick.composition` (SPEC.md, "Composition"), which says each different layer once.
 *
 * Invariant: what {@link decodeGeometry} returns is positive, bounded and consistent in itself, and equal layers are one object.
 */
import {
  ACTIVATIONS,
  type Architecture,
  type AttentionGeometry,
  type LayerGeometry,
  type ModelGeometry,
  needsGate,
  type RotaryScaling,
} from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT, MAX_EXPERTS, MAX_LAYERS, MAX_TOKEN_ID, MAX_VOCAB, MAX_WIDTH } from "./geometry-limits.js";
import type { GgufValue } from "./gguf.js";
import type { GgufMetadata } from "./gguf-metadata.js";

const ARCHITECTURES: readonly Architecture[] = [
  "opt",
  "falcon",
  "llama",
  "mistral",
  "bamboo",
  "qwen2",
  "qwen3",
  "gemma3",
  "phi",
  "persimmon",
  "mixtral",
  "olmoe",
  "qwen2moe",
  "qwen3moe",
  "gpt-oss",
];
const KEY = "flashwick.composition";

const width = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_WIDTH));
const tokens = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_CONTEXT));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));
const flag = v.boolean();

const norm = v.strictObject({
  kind: v.picklist(["layer", "rms"]),
  epsilon: v.pipe(v.number(), v.gtValue(0), v.ltValue(1)),
  weight: flag,
  bias: flag,
});

const scaling: v.GenericSchema<RotaryScaling> = v.variant("kind", [
  v.strictObject({ kind: v.literal("linear"), factor: positive }),
  v.strictObject({
    ...{ kind: v.literal("llama3"), factor: positive, originalContext: tokens },
    ...{ lowFrequencyFactor: positive, highFrequencyFactor: positive },
  }),
  v.strictObject({
    ...{ kind: v.literal("yarn"), factor: positive, originalContext: tokens, betaFast: positive, betaSlow: positive },
    ...{ attentionFactor: positive, truncate: flag },
  }),
  v.strictObject({ kind: v.literal("factors"), factors: v.array(positive) }),
]);

const rotary = v.strictObject({
  ...{ theta: positive, dims: width, pairs: v.picklist(["halves", "neighbours"]) },
  scaling: v.nullable(scaling),
});

const attention = v.strictObject({
  ...{ nHeads: width, nKvHeads: width, headDim: width, scale: positive },
  biases: v.strictObject({ query: flag, key: flag, value: flag, output: flag }),
  queryKeyNorm: v.nullable(v.strictObject({ norm, over: v.picklist(["head", "width"]) })),
  rotary: v.nullable(rotary),
  alibi: flag,
  windowTokens: v.nullable(tokens),
  // Left out where it is false, so that equal layers have equal texts.
  sinks: v.exactOptional(v.literal(true)),
});

const ffn = v.strictObject({
  ...{ dFf: width, gated: flag, activation: v.picklist(ACTIVATIONS), threshold: v.pipe(v.number(), v.finite()) },
  upActivation: v.picklist(["none", "relu"]),
  biases: v.strictObject({ gate: flag, up: flag, down: flag }),
});

const expertCount = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_EXPERTS));
const experts = v.strictObject({
  ...{ count: expertCount, chosen: expertCount },
  router: v.strictObject({ softmax: v.picklist(["all", "chosen"]), normalised: flag, bias: flag }),
  shared: v.nullable(v.strictObject({ dFf: width, gated: flag })),
});

const place = v.nullable(norm);
const norms = v.strictObject({
  ...{ beforeAttention: place, afterAttention: place, attentionSum: place },
  ...{ beforeFfn: place, afterFfn: place, ffnSum: place },
});

const layer = v.strictObject({ attention, ffn, experts: v.exactOptional(experts), norms, parallel: flag });

const composition = v.strictObject({
  embedding: v.strictObject({
    dim: width,
    scale: positive,
    positions: v.nullable(
      v.strictObject({ offset: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_WIDTH)) }),
    ),
  }),
  layers: v.pipe(v.array(layer), v.maxLength(MAX_LAYERS)),
  /** By layer: index in `layers`. */
  order: v.pipe(v.array(v.pipe(v.number(), v.integer(), v.minValue(0))), v.minLength(1), v.maxLength(MAX_LAYERS)),
  finalNorm: place,
  head: v.strictObject({ tied: flag, bias: flag }),
});

/** The metadata of a geometry, in file order, without `general.architecture`. */
export function encodeGeometry(g: ModelGeometry): Map<string, GgufValue> {
  const arch = g.architecture;
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const metadata = new Map<string, GgufValue>([
    [`${arch}.block_count`, u32(g.layers.length)],
    [`${arch}.context_length`, u32(g.contextLength)],
    [`${arch}.embedding_length`, u32(g.dModel)],
    [`${arch}.vocab_size`, u32(g.vocabSize)],
    [KEY, { type: "string", value: encodeComposition(g) }],
  ]);
  if (g.bosTokenId !== null) metadata.set("tokenizer.ggml.bos_token_id", u32(g.bosTokenId));
  if (g.eosTokenId !== null) metadata.set("tokenizer.ggml.eos_token_id", u32(g.eosTokenId));
  return metadata;
}

/** One text for one composition, whatever the order of its keys. */
function encodeComposition({ embedding, layers, finalNorm, head }: ModelGeometry): string {
  const texts = layers.map((layer) => sortedJson(withoutDefaults(layer)));
  const different = [...new Set(texts)];
  const order = texts.map((text) => different.indexOf(text));
  const parsed = different.map((text) => JSON.parse(text) as unknown);
  return sortedJson({ embedding, layers: parsed, order, finalNorm, head });
}

/** Says that a layer has sinks, and not that it has none. */
function withoutDefaults({ attention: { sinks, ...attention }, ...layer }: LayerGeometry): LayerGeometry {
  return { ...layer, attention: sinks ? { ...attention, sinks } : attention };
}

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID` naming the key, and what of the composition. */
export function decodeGeometry(metadata: GgufMetadata): ModelGeometry {
  const arch = metadata.oneOf("general.architecture", ARCHITECTURES);
  const nLayers = metadata.integer(`${arch}.block_count`, 1, MAX_LAYERS);
  const { order, layers: different, ...others } = decodeComposition(metadata);
  if (order.length !== nLayers) throw metadata.invalid(KEY, `an order of ${nLayers} layers`, `${order.length}`);
  for (const [i, layer] of different.entries()) checkLayer(layer, `layers.${i}`, metadata);
  const dModel = metadata.integer(`${arch}.embedding_length`, 1, MAX_WIDTH);
  const layers = order.map((index) => {
    const layer = different[index];
    if (layer === undefined) throw metadata.invalid(KEY, `an order of layers below ${different.length}`, `${index}`);
    return layer;
  });
  return {
    architecture: arch,
    dModel,
    vocabSize: metadata.integer(`${arch}.vocab_size`, 1, MAX_VOCAB),
    contextLength: metadata.integer(`${arch}.context_length`, 1, MAX_CONTEXT),
    ...others,
    layers,
    bosTokenId: metadata.optionalInteger("tokenizer.ggml.bos_token_id", 0, MAX_TOKEN_ID),
    eosTokenId: metadata.optionalInteger("tokenizer.ggml.eos_token_id", 0, MAX_TOKEN_ID),
  };
}

function decodeComposition(metadata: GgufMetadata): v.InferOutput<typeof composition> {
  const text = metadata.string(KEY);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw metadata.invalid(KEY, "JSON", JSON.stringify(text.slice(0, 80)));
  }
  const result = v.safeParse(composition, value);
  if (result.success) return result.output;
  const issue = result.issues[0];
  throw metadata.invalid(
    KEY,
    `${issue.expected ?? issue.message} at ${v.getDotPath(issue) ?? "the top"}`,
    issue.received,
  );
}

function checkLayer(
  { attention: a, ffn: f, experts: e, norms: n, parallel }: LayerGeometry,
  at: string,
  metadata: GgufMetadata,
): void {
  const check = (holds: boolean, field: string, expected: string, found: unknown) => {
    if (!holds) throw metadata.invalid(KEY, `${expected} at ${at}.${field}`, String(found));
  };
  check(a.nHeads * a.headDim <= MAX_WIDTH, "attention.headDim", `at most ${MAX_WIDTH} elements of heads`, a.headDim);
  check(a.nHeads % a.nKvHeads === 0, "attention.nKvHeads", `a divisor of ${a.nHeads}`, a.nKvHeads);
  checkRotary(a, check);
  check(f.gated || f.upActivation === "none", "ffn.upActivation", "none without a gate", f.upActivation);
  const withGate = needsGate(f.activation);
  check(f.gated || !withGate, "ffn.activation", "one that needs no gate", f.activation);
  check(f.upActivation === "none" || !withGate, "ffn.upActivation", `none beside ${f.activation}`, f.upActivation);
  check(f.gated || !f.biases.gate, "ffn.biases.gate", "false without a gate", f.biases.gate);
  check(!e || e.chosen <= e.count, "experts.chosen", `at most ${e?.count} experts`, e?.chosen);
  check(!n.beforeAttention || !n.attentionSum, "norms.attentionSum", "none beside beforeAttention", "one");
  check(!n.beforeFfn || !n.ffnSum, "norms.ffnSum", "none beside beforeFfn", "one");
  const sums = n.attentionSum !== null || n.ffnSum !== null;
  check(!parallel || !sums, "norms", "no norms of sums in a parallel block", "some");
}

function checkRotary(
  { rotary: r, headDim }: AttentionGeometry,
  check: (holds: boolean, field: string, expected: string, found: unknown) => void,
): void {
  if (!r) return;
  check(r.dims % 2 === 0 && r.dims <= headDim, "attention.rotary.dims", `an even number up to ${headDim}`, r.dims);
  if (r.scaling?.kind !== "factors") return;
  const { length } = r.scaling.factors;
  check(length === r.dims / 2, "attention.rotary.scaling.factors", `${r.dims / 2} factors`, length);
}
