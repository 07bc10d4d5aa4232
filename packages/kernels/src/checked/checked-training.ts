/** The ops of predictor training, with their arguments checked. */
import type { Ptr } from "../arena.js";
import type { HostKernels, TrainingKernels } from "../contract.js";
import { OperandChecks } from "./operand-checks.js";

/** What training has beyond running a model. */
type Training = Omit<TrainingKernels, keyof HostKernels>;

export function checkedTraining(kernels: TrainingKernels): Training {
  return { ...checkedMatrixProducts(kernels), ...checkedConversions(kernels), ...checkedSteps(kernels) };
}

/** Elements from the first to the last of `rows` rows, `rowStride` apart, of `cols` elements that are `colStride` apart. */
function reach(rows: number, rowStride: number, cols: number, colStride = 1): number {
  return rows === 0 || cols === 0 ? 0 : (rows - 1) * rowStride + (cols - 1) * colStride + 1;
}

function checkedMatrixProducts(kernels: TrainingKernels): Pick<Training, "gemm" | "gemmTransposed"> {
  const gemm = new OperandChecks(kernels.arena, "gemm");
  const transposed = new OperandChecks(kernels.arena, "gemmTransposed");
  return {
    gemm(c, ldc, a, aRowStride, aColStride, b, ldb, m, n, k) {
      checkSizes(gemm, { m, k, aRowStride, aColStride });
      gemm.count("n", n, { unit: 4 });
      gemm.count("ldb", ldb, { least: n, unit: 4 });
      gemm.count("ldc", ldc, { least: n, unit: 4 });
      gemm.f32("a", a, reach(m, aRowStride, k, aColStride));
      gemm.f32("b", b, reach(k, ldb, n));
      gemm.f32("c", c, reach(m, ldc, n));
      kernels.gemm(c, ldc, a, aRowStride, aColStride, b, ldb, m, n, k);
    },
    gemmTransposed(c, ldc, a, lda, b, ldb, m, n, k) {
      checkSizes(transposed, { m, n });
      transposed.count("k", k, { unit: 4 });
      transposed.count("lda", lda, { least: k, unit: 4 });
      transposed.count("ldb", ldb, { least: k, unit: 4 });
      transposed.count("ldc", ldc, { least: n, unit: 4 });
      transposed.f32("a", a, reach(m, lda, k));
      transposed.f32("b", b, reach(n, ldb, k));
      transposed.f32("c", c, reach(m, ldc, n));
      kernels.gemmTransposed(c, ldc, a, lda, b, ldb, m, n, k);
    },
  };
}

function checkSizes(check: OperandChecks, sizes: Readonly<Record<string, number>>): void {
  for (const name in sizes) check.count(name, sizes[name]!);
}

function checkedConversions(kernels: TrainingKernels): Pick<Training, "decodeF16" | "encodeF16" | "reluGradient"> {
  const decodeF16 = new OperandChecks(kernels.arena, "decodeF16");
  const encodeF16 = new OperandChecks(kernels.arena, "encodeF16");
  const reluGradient = new OperandChecks(kernels.arena, "reluGradient");
  return {
    decodeF16(dst, src, count) {
      checkHalves(decodeF16, "dst", dst, "src", src, count);
      kernels.decodeF16(dst, src, count);
    },
    encodeF16(dst, src, count) {
      checkHalves(encodeF16, "src", src, "dst", dst, count);
      kernels.encodeF16(dst, src, count);
    },
    reluGradient(x, gate, count) {
      reluGradient.count("count", count, { unit: 4 });
      reluGradient.f32("x", x, count);
      reluGradient.f32("gate", gate, count);
      kernels.reluGradient(x, gate, count);
    },
  };
}

/** `count` f32 beside as many f16. */
function checkHalves(
  check: OperandChecks,
  floats: string,
  floatPtr: Ptr,
  halves: string,
  halfPtr: Ptr,
  count: number,
): void {
  check.count("count", count, { unit: 4 });
  check.f32(floats, floatPtr, count);
  check.bytes(halves, halfPtr, 2 * count, 2);
}

function checkedSteps(kernels: TrainingKernels): Pick<Training, "crossEntropyGradient" | "adamW"> {
  const entropy = new OperandChecks(kernels.arena, "crossEntropyGradient");
  const adamW = new OperandChecks(kernels.arena, "adamW");
  return {
    crossEntropyGradient(z, ldz, labels, labelStrideBytes, m, n, ...weights) {
      checkSizes(entropy, { m, n });
      entropy.count("ldz", ldz, { least: n, unit: 4 });
      const labelBytes = Math.ceil(n / 8);
      entropy.count("labelStrideBytes", labelStrideBytes, { least: labelBytes });
      entropy.f32("z", z, reach(m, ldz, n));
      entropy.bytes("labels", labels, reach(m, labelStrideBytes, labelBytes));
      return kernels.crossEntropyGradient(z, ldz, labels, labelStrideBytes, m, n, ...weights);
    },
    adamW(w, g, m, v, count, step, ...rates) {
      adamW.count("count", count, { unit: 4 });
      adamW.count("step", step, { least: 1 });
      for (const [name, ptr] of Object.entries({ w, g, m, v })) adamW.f32(name, ptr, count);
      kernels.adamW(w, g, m, v, count, step, ...rates);
    },
  };
}
