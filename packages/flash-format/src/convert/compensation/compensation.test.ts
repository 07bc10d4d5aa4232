/** Rounding and leaving out, made up for: against plain rounding, and against least squares solved another way. */
import { decodeFloat16, encodeFloat16, Random } from "@flashwick/core";
import { chooseScaleQ4, roundQ4 } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import type { LayerMoments } from "../../moments-file.js";
import { compensateLayer } from "./compensated-layer.js";
import { factorMoments } from "./moment-factor.js";
import { RowRounding } from "./rounded-rows.js";

const random = new Random(7);
const normal = () => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
const values = (length: number, scale = 1) => Float32Array.from({ length }, () => scale * normal());

/** Vectors of `width` numbers that go together: three hidden causes, and a little of their own. f32 `[n, width]`. */
function correlated(n: number, width: number, isSparse = false): Float32Array {
  const mix = values(3 * width);
  const out = new Float32Array(n * width);
  for (let t = 0; t < n; t++) {
    const causes = values(3);
    for (let i = 0; i < width; i++) {
      const x = causes.reduce((sum, cause, k) => sum + cause * mix[k * width + i]!, 0.3 * normal());
      out[t * width + i] = isSparse ? Math.max(0, x - 0.5) : x;
    }
  }
  return out;
}

/** Lower triangle of the mean of x · xᵀ. */
function momentsOf(vectors: Float32Array, width: number): Float32Array {
  const n = vectors.length / width;
  const triangle = new Float32Array((width * (width + 1)) / 2);
  for (let i = 0, at = 0; i < width; i++) {
    for (let j = 0; j <= i; j++, at++) {
      let sum = 0;
      for (let t = 0; t < n; t++) sum += vectors[t * width + i]! * vectors[t * width + j]!;
      triangle[at] = sum / n;
    }
  }
  return triangle;
}

function plainlyRounded(row: Float32Array): Float32Array {
  const out = row.slice();
  for (let k = 0; k < row.length; k += 32) {
    const scale = chooseScaleQ4(row.subarray(k, k + 32));
    for (let i = k; i < k + 32; i++) out[i] = scale * roundQ4(row[i]!, scale);
  }
  return out;
}

/** Σ over vectors of (e · x)², e the difference of two rows. */
function productError(vectors: Float32Array, a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let t = 0; t < vectors.length; t += a.length) {
    let product = 0;
    for (let i = 0; i < a.length; i++) product += (a[i]! - b[i]!) * vectors[t + i]!;
    total += product ** 2;
  }
  return total;
}

describe("the factor of moments", () => {
  it("gives damped moments back, in the order asked for", () => {
    const moments = momentsOf(correlated(40, 5), 5);
    const order = Uint32Array.of(3, 0, 4, 1);
    const { rows, size } = factorMoments(moments, order);
    const at = (i: number, j: number) => moments[(Math.max(i, j) * (Math.max(i, j) + 1)) / 2 + Math.min(i, j)]!;
    const damping = (0.01 * order.reduce((sum, i) => sum + at(i, i), 0)) / size;
    for (let i = 0; i < size; i++) {
      for (let j = i; j < size; j++) {
        let product = 0;
        for (let k = 0; k <= i; k++) product += rows[k * size + i]! * rows[k * size + j]!;
        expect(product).toBeCloseTo(at(order[i]!, order[j]!) + (i === j ? damping : 0), 5);
      }
    }
  });

  it("of a text that says nothing leaves every weight on its own", () => {
    const { rows } = factorMoments(new Float32Array(6), Uint32Array.of(0, 1, 2));
    expect([...rows]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
  });
});

describe("rows in blocks of four bits", () => {
  it("become multiples of scales that f16 holds, and lose a quarter of what plain rounding loses of correlated inputs", () => {
    const width = 64;
    const inputs = correlated(400, width);
    const rounding = new RowRounding(momentsOf(inputs, width), width);
    let [compensated, plain] = [0, 0];
    for (let n = 0; n < 20; n++) {
      const row = values(width, 0.05);
      const rounded = row.slice();
      const scales = new Float32Array(2);
      rounding.round(rounded, scales);
      for (const [i, value] of rounded.entries()) {
        const scale = scales[i >> 5]!;
        expect(decodeFloat16(encodeFloat16(scale))).toBe(scale);
        expect(value).toBe(Math.fround(scale * roundQ4(value, scale)));
      }
      compensated += productError(inputs, row, rounded);
      plain += productError(inputs, row, plainlyRounded(row));
    }
    expect(compensated).toBeLessThan(0.25 * plain);
  });

  it("are rounded plainly where inputs have nothing to do with each other", () => {
    const identity = Float32Array.from({ length: 64 * 65 * 0.5 }, (_, at) =>
      Number(Number.isInteger((Math.sqrt(8 * at + 9) - 3) / 2)),
    );
    const row = values(64);
    const rounded = row.slice();
    new RowRounding(identity, 64).round(rounded, new Float32Array(2));
    expect(rounded).toEqual(plainlyRounded(row));
  });
});

describe("a layer", () => {
  const [dModel, all] = [32, 24];
  const activations = correlated(300, all, true);
  const moments: LayerMoments = {
    input: momentsOf(correlated(300, dModel), dModel),
    activation: momentsOf(activations, all),
  };
  const rowsOf = () => ({ up: values(all * dModel), down: values(all * dModel) });
  const everyone = Uint32Array.from({ length: all }, (_, i) => i);

  /** Σ over tokens of ‖Σ act · (column − stored column)‖², columns that are not kept stored as zeros. */
  const outputError = (down: Float32Array, kept: Uint32Array, stored: Float32Array) => {
    let total = 0;
    for (let k = 0; k < dModel; k++) {
      const before = Float32Array.from({ length: all }, (_, i) => down[i * dModel + k]!);
      const after = new Float32Array(all);
      for (const [at, neuron] of kept.entries()) after[neuron] = stored[at * dModel + k]!;
      total += productError(activations, before, after);
    }
    return total;
  };

  it("that loses neurons has the down columns of least squares for the others, in the order of its records", () => {
    const rows = rowsOf();
    const kept = Uint32Array.from([17, 2, 3, 5, 8, 9, 11, 12, 13, 20, 21, 6, 1, 23, 22, 4]);
    const { up, down, rounded } = compensateLayer({ ...rows, down: rows.down.slice() }, moments, {
      dModel,
      dtype: "f32",
      kept,
    });
    expect(rounded).toBeNull();
    expect(up.subarray(0, dModel)).toEqual(rows.up.subarray(17 * dModel, 18 * dModel));
    const expected = ridgeColumns(rows.down, dModel, all, kept, moments.activation);
    for (const [i, value] of down.entries()) expect(value).toBeCloseTo(expected[i]!, 3);
    const plain = new Float32Array(kept.length * dModel);
    for (const [at, n] of kept.entries()) plain.set(rows.down.subarray(n * dModel, (n + 1) * dModel), at * dModel);
    expect(outputError(rows.down, kept, down)).toBeLessThan(0.5 * outputError(rows.down, kept, plain));
  });

  it("of four bits has columns that make up for each other's rounding, and says what weights lost", () => {
    const rows = rowsOf();
    const { down, rounded } = compensateLayer({ ...rows, down: rows.down.slice() }, moments, {
      dModel,
      dtype: "q4",
      kept: everyone,
    });
    const plain = new Float32Array(all * dModel);
    for (const n of everyone) {
      plain.set(plainlyRounded(rows.down.subarray(n * dModel, (n + 1) * dModel)), n * dModel);
    }
    expect(outputError(rows.down, everyone, down)).toBeLessThan(0.5 * outputError(rows.down, everyone, plain));
    const [error, whole] = rounded!.squares.down!;
    expect(Math.sqrt(error / whole)).toBeGreaterThan(0.08);
    expect(Math.sqrt(error / whole)).toBeLessThan(0.3);
    expect(rounded!.scales.down).toHaveLength(all);
  });

  it("of a text in which nothing fires is stored as without a calibration", () => {
    const rows = rowsOf();
    const silent = {
      input: new Float32Array(moments.input.length),
      activation: new Float32Array(moments.activation.length),
    };
    const stored = compensateLayer({ ...rows, down: rows.down.slice() }, silent, {
      dModel,
      dtype: "q4",
      kept: everyone,
    });
    for (const n of everyone) {
      const range = [n * dModel, (n + 1) * dModel] as const;
      expect(stored.up.subarray(...range)).toEqual(plainlyRounded(rows.up.subarray(...range)));
      expect(stored.down.subarray(...range)).toEqual(plainlyRounded(rows.down.subarray(...range)));
    }
  });
});

/** The columns of `kept` that give all columns' output best, by Gaussian elimination of the damped normal equations. */
function ridgeColumns(
  down: Float32Array,
  dModel: number,
  all: number,
  kept: Uint32Array,
  triangle: Float32Array,
): Float32Array {
  const at = (i: number, j: number) => triangle[(Math.max(i, j) * (Math.max(i, j) + 1)) / 2 + Math.min(i, j)]!;
  const damping = Array.from({ length: all }, (_, i) => at(i, i)).reduce((a, b) => a + b, 0) / all / 100;
  const n = kept.length;
  // (M + damping) of the kept ones · W = (M + damping) of kept and all · W of all.
  const system = Array.from(kept, (a) => {
    const left = Array.from(kept, (b) => at(a, b) + (a === b ? damping : 0));
    const right = Array.from({ length: dModel }, (_, k) => {
      let sum = damping * down[a * dModel + k]!;
      for (let b = 0; b < all; b++) sum += at(a, b) * down[b * dModel + k]!;
      return sum;
    });
    return [...left, ...right];
  });
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = system[i]![k]! / system[k]![k]!;
      for (let j = k; j < n + dModel; j++) system[i]![j]! -= factor * system[k]![j]!;
    }
  }
  return Float32Array.from(system.flatMap((row, i) => row.slice(n).map((value) => value / row[i]!)));
}
