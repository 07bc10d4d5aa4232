/** One layer's FFN by columns against a plain sum over the columns of its file, bit for bit. */
import { activationOf, type ColumnRecords, paddedLength, Random, type RecordDType } from "@flashwick/core";
import { columnsOf, type ModelFile } from "@flashwick/flash-format";
import { decodeRow } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { modelBytes, openModelBytes } from "./checkpoint.fixture.js";
import type { ColumnLayer } from "./engine-layer.js";
import { StreamAhead } from "./layer-stream.js";
import type { ChosenUnits } from "./pruning/chosen-units.js";
import type { FfnPruner } from "./pruning/ffn-pruner.js";
import { TokenMeter } from "./token-meter.js";

const TOKENS = 3;

/** A column in f32, with what its elements are multiplied by: a scale, of q4 one for each block. */
interface Column {
  readonly elements: Float32Array;
  readonly scaleOf: (index: number) => number;
}

/** Part `part` of record `unit`. */
function columnOf(
  bytes: Uint8Array,
  begin: number,
  unit: number,
  part: number,
  dtype: RecordDType,
  records: ColumnRecords,
): Column {
  const { strideBytes, width, parts } = records;
  const { offsetBytes, scaleOffsetBytes } = parts[part]!;
  const record = bytes.slice(begin + unit * strideBytes, begin + (unit + 1) * strideBytes);
  const view = new DataView(record.buffer);
  if (dtype === "int8") {
    const scale = view.getFloat32(scaleOffsetBytes!, true);
    return { elements: Float32Array.from(new Int8Array(record.buffer, offsetBytes, width)), scaleOf: () => scale };
  }
  const elements = new Float32Array(width);
  if (dtype === "f32") elements.set(new Float32Array(record.buffer, offsetBytes, width));
  else if (dtype === "f16") decodeRow("f16", record.subarray(offsetBytes), 0, width, elements);
  else {
    // Nibbles alone, so that the block's scale stays a factor of its own.
    for (let i = 0; i < width; i++) {
      const byte = record[offsetBytes + Math.floor(i / 32) * 18 + 2 + (i % 16)]!;
      elements[i] = (i % 32 < 16 ? byte & 15 : byte >> 4) - 8;
    }
    const scales = new Float32Array(width / 32);
    const one = new Float32Array(width);
    decodeRow("q4_0", record.subarray(offsetBytes), 0, width, one);
    for (let b = 0; b < scales.length; b++) {
      const half = new Float32Array(1);
      decodeRow("f16", record.subarray(offsetBytes + b * 18, offsetBytes + b * 18 + 2), 0, 1, half);
      scales[b] = half[0]!;
    }
    return { elements, scaleOf: (i) => scales[Math.floor(i / 32)]! };
  }
  return { elements, scaleOf: () => 1 };
}

/** Σ x[i] · column i over a set, ascending; each product and sum rounded once. */
function plainSum(
  x: Float32Array,
  set: Uint32Array | null,
  width: number,
  column: (unit: number) => Column,
): Float32Array {
  const sum = new Float32Array(width);
  for (let unit = 0; unit < x.length; unit++) {
    if ((set && !set.includes(unit)) || x[unit] === 0) continue;
    const { elements, scaleOf } = column(unit);
    for (let k = 0; k < width; k++) {
      sum[k] = sum[k]! + Math.fround(Math.fround(x[unit]! * scaleOf(k)) * elements[k]!);
    }
  }
  return sum;
}

/** Chooses by lot, another set for every row, and remembers it. */
class DrawnPruner implements FfnPruner {
  readonly seesGates = false;
  readonly drawn: ChosenUnits[] = [];
  readonly #random = new Random(5);
  constructor(readonly share: number) {}
  inputs(_: number, x: Float32Array): ChosenUnits {
    return this.#draw(x);
  }
  outputs(_: number, h: Float32Array): ChosenUnits {
    return this.#draw(h);
  }
  #draw({ length }: Float32Array): ChosenUnits {
    const scores = Float32Array.from({ length }, () => this.#random.uniform());
    const all = Uint32Array.from({ length }, (_, unit) => unit);
    const chosen = { units: all.filter((unit) => scores[unit]! < this.share), scores };
    this.drawn.push(chosen);
    return chosen;
  }
}

function expectedSums(
  { header }: ModelFile,
  bytes: Uint8Array,
  layer: ColumnLayer,
  x: Float32Array,
  set: Uint32Array | null,
) {
  const { inputs, dtype } = columnsOf(header)!;
  const begin = header.columns[layer.index]!.inputs.offset;
  return inputs.parts.map((_, part) =>
    plainSum(x, set, inputs.width, (unit) => columnOf(bytes, begin, unit, part, dtype, inputs)),
  );
}

const CASES = (["llama-tiny", "opt-tiny-sharded", "phi-tiny"] as const).flatMap((name) =>
  (["f32", "f16", "int8", "q4"] as const)
    // Blocks of 32, and phi-tiny has 80 columns.
    .filter((dtype) => dtype !== "q4" || name !== "phi-tiny")
    .map((dtype) => [name, dtype] as const),
);

describe.each(CASES)("%s in columns of %s", (name, dtype) => {
  it.each([
    ["wasm", null, null],
    ["wasm", 0.6, null],
    ["wasm", 0.6, "least"],
    ["wasm", null, "least"],
    ["reference", 0.3, "least"],
  ] as const)(
    "on %s, with a share of %s, and a budget that is %s, adds columns in ascending order",
    async (backend, share, budget) => {
      const bytes = await modelBytes(name, dtype, "columns");
      const probe = await openModelBytes(bytes, name, { backend });
      const dramBudgetBytes = budget === "least" ? probe.plan(8).smallestBudgetBytes : undefined;
      await probe.close();
      const model = await openModelBytes(bytes, name, { backend, dramBudgetBytes });
      const { file } = model.parts;
      const { dModel } = file.header.geometry;
      await model.withSequence(8, async ({ engine }) => {
        const layer = engine.layers[1] as ColumnLayer;
        const { kernels, workspace: w } = layer.context;
        const { ffn } = layer.geometry;
        const random = new Random(3);
        const tokens = Math.min(TOKENS, engine.batchTokens);
        const [rowLength, outLength] = [paddedLength(dModel), paddedLength(ffn.dFf)];
        const xs = Array.from({ length: tokens }, () =>
          Float32Array.from({ length: dModel }, (_, i) => (i % 7 === 3 ? 0 : 2 * random.uniform() - 1)),
        );
        for (const [t, x] of xs.entries()) kernels.arena.f32(w.ffnInput + 4 * t * rowLength, dModel).set(x);
        kernels.zero(w.blockOut, tokens * rowLength);
        const pruner = share === null ? null : new DrawnPruner(share);
        const meter = new TokenMeter(() => 0);
        const ahead = new StreamAhead([layer.ffn.parts.inputs.stream, layer.ffn.parts.outputs.stream], false, meter);
        const hidden: Float32Array[] = [];
        const onActivations = (act: number) => {
          for (let t = 0; t < tokens; t++) hidden.push(kernels.arena.f32(act + 4 * t * outLength, ffn.dFf).slice());
        };
        await layer.ffn.compute({ nTokens: tokens, pruner, ahead, meter, onActivations });
        const found = xs.map((_, t) => kernels.arena.f32(w.blockOut + 4 * t * rowLength, dModel).slice());
        const { outputs } = columnsOf(file.header)!;
        const begin = file.header.columns[1]!.outputs.offset;
        for (const [t, x] of xs.entries()) {
          const sums = expectedSums(file, bytes, layer, x, pruner?.drawn[t]?.units ?? null);
          for (const [part, bias] of [layer.weights.gateBias, layer.weights.upBias]
            .slice(ffn.gated ? 0 : 1)
            .entries()) {
            if (bias === 0) continue;
            const values = kernels.arena.f32(bias, ffn.dFf);
            for (let i = 0; i < ffn.dFf; i++) sums[part]![i] = sums[part]![i]! + values[i]!;
          }
          const up = ffn.gated ? sums[1]! : new Float32Array(ffn.dFf).fill(1);
          for (const [ptr, values] of [
            [w.gate, sums[0]!],
            [w.act, up],
          ] as const) {
            const room = kernels.arena.f32(ptr, outLength).fill(0);
            room.set(values);
          }
          kernels.gate(w.act, w.gate, w.act, outLength, activationOf(ffn));
          expect(hidden[t]).toEqual(kernels.arena.f32(w.act, ffn.dFf).slice());
          const set = pruner?.drawn[tokens + t]?.units ?? null;
          const column = (unit: number) => columnOf(bytes, begin, unit, 0, dtype, outputs);
          expect(found[t]).toEqual(plainSum(hidden[t]!, set, dModel, column));
        }
      });
      await model.close();
    },
  );
});
