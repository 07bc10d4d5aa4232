/**
 * What the encodings of position need beside the weights, by transformers 4.57: in f32 where it computes in f32 (angles of rotary positions), in
 * bfloat16 where it does (ALiBi's slopes, `modeling_falcon.py`). Learned positions are weights, and a row table.
 */
import { decodeBfloat16, encodeBfloat16, type ModelGeometry, type RotaryGeometry } from "@flashwick/core";
import type { Kernels, Ptr } from "@flashwick/kernels";
import { rotaryFrequencies } from "./rotary-frequencies.js";

/**
 * How often ALiBi is added to the scores. transformers 4.57.3 with eager attention, which the saved references come from, adds it twice: to
 * the product in `FalconAttention.forward`, and with the causal mask, where `_update_causal_mask` has put it for the other implementations. Its
 * SDPA path, and ALiBi's paper, add it once. Checked: with 2 the logits of falcon-tiny-alibi are the reference's within 6e-6, with 1 they
 * are off by up to 2e-2. To become 1 when the references do.
 */
const ALIBI_TIMES = 2;

/** Where the cosines of each rotation lie in the workspace, and the sines likewise: layers that turn alike share a table. */
export interface RotaryTablePlan {
  readonly tables: readonly { readonly rotary: RotaryGeometry; readonly offsetBytes: number }[];
  /** Offset of each layer's table; null where nothing is turned. */
  readonly offsetOfLayer: readonly (number | null)[];
  /** Of all cosines; the sines take as much. */
  readonly sizeBytes: number;
}

/** Lays out the rotary tables of a model, f32 `[contextTokens, dims / 2]` each. */
export function planRotaryTables({ layers }: ModelGeometry, contextTokens: number): RotaryTablePlan {
  const tables = new Map<string, { rotary: RotaryGeometry; offsetBytes: number }>();
  let sizeBytes = 0;
  const offsetOfLayer = layers.map(({ attention: { rotary } }) => {
    if (!rotary) return null;
    const key = JSON.stringify(rotary);
    const known = tables.get(key);
    if (known) return known.offsetBytes;
    const offsetBytes = sizeBytes;
    tables.set(key, { rotary, offsetBytes });
    sizeBytes += Math.ceil((2 * contextTokens * rotary.dims) / TABLE_ALIGNMENT) * TABLE_ALIGNMENT;
    return offsetBytes;
  });
  return { tables: [...tables.values()], offsetOfLayer, sizeBytes };
}

const TABLE_ALIGNMENT = 16;

/** Where the tables go, as a `Workspace` has them. */
export interface PositionTableRoom {
  readonly rotaryCos: Ptr;
  readonly rotarySin: Ptr;
  readonly alibiSlopes: Ptr;
}

/** Writes the tables of a geometry's encodings, for `contextTokens` positions, to where there is room for them. */
export function fillPositionTables(
  kernels: Kernels,
  room: PositionTableRoom,
  geometry: ModelGeometry,
  contextTokens: number,
): void {
  const place = (ptr: Ptr, values: Float32Array) => {
    kernels.arena.f32(ptr, values.length).set(values);
    kernels.put(ptr, values.byteLength);
  };
  for (const { rotary, offsetBytes } of planRotaryTables(geometry, contextTokens).tables) {
    const { cos, sin } = rotaryTables(rotary, contextTokens);
    place(room.rotaryCos + offsetBytes, cos);
    place(room.rotarySin + offsetBytes, sin);
  }
  const { alibi, nHeads } = geometry.layers[0]!.attention;
  if (alibi) place(room.alibiSlopes, alibiSlopes(nHeads));
}

/**
 * Cosine and sine of position · frequency for each pair, f32 `[contextTokens, dims / 2]` each. The angle is rounded to f32.
 *
 * Cost: two functions an element; some 5 ms for 2048 tokens and heads of 64.
 */
export function rotaryTables(
  rotary: RotaryGeometry,
  contextTokens: number,
): { readonly cos: Float32Array; readonly sin: Float32Array } {
  const half = rotary.dims / 2;
  const { frequencies, magnitude } = rotaryFrequencies(rotary);
  const cos = new Float32Array(contextTokens * half);
  const sin = new Float32Array(contextTokens * half);
  for (let position = 0; position < contextTokens; position++) {
    for (let d = 0; d < half; d++) {
      const angle = Math.fround(position * frequencies[d]!);
      cos[position * half + d] = magnitude * Math.cos(angle);
      sin[position * half + d] = magnitude * Math.sin(angle);
    }
  }
  return { cos, sin };
}

/**
 * ALiBi's slope of each head, bfloat16 values, {@link ALIBI_TIMES} times: a geometric sequence for a power of two of heads, and every other one of the next finer
 * sequence for the heads beyond (`build_alibi_tensor`).
 */
export function alibiSlopes(nHeads: number): Float32Array {
  const power = 2 ** Math.floor(Math.log2(nHeads));
  const base = (count: number) => Math.fround(2 ** -(2 ** -(Math.log2(count) - 3)));
  return Float32Array.from({ length: nHeads }, (_, head) => {
    const slope = head < power ? base(power) ** (head + 1) : base(2 * power) ** (2 * (head - power) + 1);
    return ALIBI_TIMES * decodeBfloat16(encodeBfloat16(slope));
  });
}
