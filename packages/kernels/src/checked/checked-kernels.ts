/**
 * Kernels for calls by hand: arguments are checked before the op runs.
 *
 * Kernels themselves believe their arguments, since the engine plans them: a pointer that is 4 bytes off gives wrong numbers, and one beyond
 * the arena a trap. Here each is an error that names op, operand, what was expected and what was found.
 *
 * Checked are counts, types, ranges, alignment, that every byte an op touches lies in the arena, and that operands are apart where the contract
 * says so. Lists of rows, slots and pages are read from the host's memory. Not checked are values: that weights are finite, and that
 * what lies beyond a vector's elements is zero.
 */
import { paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { HostKernels, Kernels, TrainingKernels } from "../contract.js";
import { checkedElementwise } from "./checked-elementwise.js";
import { checkedTraining } from "./checked-training.js";
import { OperandChecks } from "./operand-checks.js";
import { checkActivation, checkColumnSlots, checkMatrix, checkPages, checkSlots } from "./weight-checks.js";

/** f32 elements of a batch of vectors. */
const batch = (nTokens: number, n: number) => nTokens * paddedLength(n);

/**
 * The same kernels, with their arguments checked.
 *
 * @throws {FlashwickError} `SHAPE`, from each op, before it has done anything. `details` has `op`, `operand`, `expected` and `found`.
 * Cost: 50 to 300 ns a call, and 7 ns for each slot, row or page that it names (Node 20 on an AMD EPYC); weights and vectors are not read.
 */
export function checkedKernels(kernels: TrainingKernels): TrainingKernels;
export function checkedKernels(kernels: HostKernels): HostKernels;
export function checkedKernels(kernels: Kernels): Kernels;
export function checkedKernels(kernels: Kernels): Kernels {
  return {
    backend: kernels.backend,
    arena: kernels.arena,
    mirrored: kernels.mirrored,
    scratchBytes: (cols, nTokens) => kernels.scratchBytes(cols, nTokens),
    gatedScratchBytes: (cols, nTokens) => kernels.gatedScratchBytes(cols, nTokens),
    attentionScratchBytes: (capacityTokens) => kernels.attentionScratchBytes(capacityTokens),
    ...checkedLink(kernels),
    ...checkedProducts(kernels),
    ...checkedNorms(kernels),
    ...checkedAttention(kernels),
    ...checkedElementwise(kernels),
    ...checkedBytes(kernels),
    ...(isTraining(kernels) ? checkedTraining(kernels) : {}),
  };
}

function isTraining(kernels: Kernels): kernels is TrainingKernels {
  return "gemm" in kernels;
}

function checkedLink(kernels: Kernels): Pick<Kernels, "put" | "take" | "submit"> {
  const [put, take] = [new OperandChecks(kernels.arena, "put"), new OperandChecks(kernels.arena, "take")];
  return {
    put(ptr, sizeBytes) {
      put.count("sizeBytes", sizeBytes);
      put.bytes("ptr", ptr, sizeBytes);
      kernels.put(ptr, sizeBytes);
    },
    take(ptr, sizeBytes) {
      take.count("sizeBytes", sizeBytes);
      take.bytes("ptr", ptr, sizeBytes);
      return kernels.take(ptr, sizeBytes);
    },
    submit: () => kernels.submit(),
  };
}

function checkedProducts(kernels: Kernels): Pick<Kernels, "linear" | "ffnUp" | "ffnDown" | "gatherRow"> {
  const { arena } = kernels;
  const ops = ["linear", "ffnUp", "ffnDown", "gatherRow"] as const;
  const [linear, ffnUp, ffnDown, gatherRow] = ops.map((op) => new OperandChecks(arena, op)) as Checks<4>;
  return {
    linear(out, x, w, bias, nTokens, scratch, rowBegin = 0, rowEnd = w.rows) {
      linear.count("nTokens", nTokens);
      checkMatrix(linear, w, rowBegin, rowEnd);
      checkInOut(linear, out, batch(nTokens, w.rows), x, batch(nTokens, w.cols));
      linear.f32OrNone("bias", bias, w.rows);
      linear.bytes("scratch", scratch, kernels.scratchBytes(w.cols, nTokens), 16);
      kernels.linear(out, x, w, bias, nTokens, scratch, rowBegin, rowEnd);
    },
    ffnUp(act, x, matrix, slots, n, nTokens, activation, scratch, begin = 0, end = n) {
      checkFfn(ffnUp, n, nTokens);
      ffnUp.range("neuron", begin, end, n);
      checkSlots(ffnUp, matrix, slots, n);
      checkActivation(ffnUp, activation, matrix.gate !== null);
      ffnUp.f32("act", act, batch(nTokens, n));
      ffnUp.f32("x", x, batch(nTokens, matrix.dModel));
      const { scratchBytes, gatedScratchBytes } = kernels;
      ffnUp.bytes("scratch", scratch, (matrix.gate ? gatedScratchBytes : scratchBytes)(matrix.dModel, nTokens), 16);
      kernels.ffnUp(act, x, matrix, slots, n, nTokens, activation, scratch, begin, end);
    },
    ffnDown(out, act, matrix, slots, n, nTokens, colBegin = 0, colEnd = paddedLength(matrix.dModel)) {
      checkFfn(ffnDown, n, nTokens);
      checkColumnSlots(ffnDown, matrix, slots, n);
      ffnDown.range("col", colBegin, colEnd, paddedLength(matrix.dModel), 16);
      ffnDown.f32("act", act, batch(nTokens, n));
      ffnDown.f32("out", out, batch(nTokens, matrix.dModel));
      kernels.ffnDown(out, act, matrix, slots, n, nTokens, colBegin, colEnd);
    },
    gatherRow(out, w, row) {
      gatherRow.count("row", row, { most: w.rows - 1 });
      checkMatrix(gatherRow, w, row, row + 1);
      gatherRow.f32("out", out, paddedLength(w.cols));
      kernels.gatherRow(out, w, row);
    },
  };
}

/** One check for each of so many ops. */
type Checks<N extends number, T extends OperandChecks[] = []> = T["length"] extends N
  ? T
  : Checks<N, [...T, OperandChecks]>;

function checkFfn(check: OperandChecks, n: number, nTokens: number): void {
  check.count("n", n);
  check.count("nTokens", nTokens);
}

/** f32 operands that must not alias. */
function checkInOut(check: OperandChecks, out: Ptr, outCount: number, x: Ptr, xCount: number): void {
  check.f32("out", out, outCount);
  check.f32("x", x, xCount);
  check.apart({ name: "out", ptr: out, sizeBytes: 4 * outCount }, { name: "x", ptr: x, sizeBytes: 4 * xCount });
}

function checkedNorms(kernels: Kernels): Pick<Kernels, "layerNorm" | "rmsNorm" | "normHeads" | "rotate"> {
  const { arena } = kernels;
  const ops = ["layerNorm", "rmsNorm", "normHeads", "rotate"] as const;
  const [layerNorm, rmsNorm, normHeads, rotate] = ops.map((op) => new OperandChecks(arena, op)) as Checks<4>;
  return {
    layerNorm(out, x, weight, bias, n, nTokens, epsilon) {
      checkNorm(layerNorm, out, x, weight, n, nTokens, epsilon);
      layerNorm.f32OrNone("bias", bias, n);
      kernels.layerNorm(out, x, weight, bias, n, nTokens, epsilon);
    },
    rmsNorm(out, x, weight, n, nTokens, epsilon) {
      checkNorm(rmsNorm, out, x, weight, n, nTokens, epsilon);
      kernels.rmsNorm(out, x, weight, n, nTokens, epsilon);
    },
    normHeads(x, norm, nHeads, headDim, nTokens) {
      checkHeads(normHeads, x, nHeads, headDim, nTokens);
      normHeads.f32OrNone("norm.weight", norm.weight, headDim);
      normHeads.f32OrNone("norm.bias", norm.bias, headDim);
      normHeads.finite("norm.epsilon", norm.epsilon);
      kernels.normHeads(x, norm, nHeads, headDim, nTokens);
    },
    rotate(x, tables, nHeads, position, nTokens) {
      const { headDim, dims, cos, sin } = tables;
      checkHeads(rotate, x, nHeads, headDim, nTokens);
      rotate.count("tables.dims", dims, { most: headDim, unit: 2 });
      rotate.count("position", position);
      rotate.f32("tables.cos", cos, ((position + nTokens) * dims) / 2);
      rotate.f32("tables.sin", sin, ((position + nTokens) * dims) / 2);
      kernels.rotate(x, tables, nHeads, position, nTokens);
    },
  };
}

function checkNorm(
  check: OperandChecks,
  out: Ptr,
  x: Ptr,
  weight: Ptr,
  n: number,
  nTokens: number,
  epsilon: number,
): void {
  check.count("n", n, { least: 1 });
  check.count("nTokens", nTokens);
  check.finite("epsilon", epsilon);
  check.f32("out", out, batch(nTokens, n));
  check.f32("x", x, batch(nTokens, n));
  check.f32OrNone("weight", weight, n);
}

/** Vectors of heads: f32 `[nTokens, pad(nHeads · headDim)]`. */
function checkHeads(check: OperandChecks, x: Ptr, nHeads: number, headDim: number, nTokens: number): void {
  check.count("nHeads", nHeads, { least: 1 });
  check.count("headDim", headDim, { least: 1 });
  check.count("nTokens", nTokens);
  check.f32("x", x, batch(nTokens, nHeads * headDim));
}

function checkedAttention(kernels: Kernels): Pick<Kernels, "storeKv" | "attention"> {
  const { arena } = kernels;
  const [storeKv, attention] = ["storeKv", "attention"].map((op) => new OperandChecks(arena, op)) as Checks<2>;
  return {
    storeKv(cache, k, v, position, nTokens) {
      checkPositions(storeKv, position, nTokens);
      checkPages(storeKv, cache, position, position + nTokens);
      const count = batch(nTokens, cache.nKvHeads * cache.headDim);
      storeKv.f32("k", k, count);
      storeKv.f32("v", v, count);
      kernels.storeKv(cache, k, v, position, nTokens);
    },
    attention(out, q, cache, shape, position, nTokens, scratch, headBegin = 0, headEnd = shape.nHeads) {
      const { nHeads, slopes = 0, sinks = 0, scale } = shape;
      checkPositions(attention, position, nTokens);
      checkPages(attention, cache, firstKey(attention, shape.windowTokens ?? null, position), position + nTokens);
      attention.count("shape.nHeads", nHeads, { least: 1, unit: cache.nKvHeads });
      attention.range("head", headBegin, headEnd, nHeads);
      attention.finite("shape.scale", scale);
      attention.f32OrNone("shape.slopes", slopes, nHeads);
      attention.f32OrNone("shape.sinks", sinks, nHeads);
      attention.f32("out", out, batch(nTokens, nHeads * cache.headDim));
      attention.f32("q", q, batch(nTokens, nHeads * cache.headDim));
      attention.bytes("scratch", scratch, kernels.attentionScratchBytes(position + nTokens), 16);
      kernels.attention(out, q, cache, shape, position, nTokens, scratch, headBegin, headEnd);
    },
  };
}

function checkPositions(check: OperandChecks, position: number, nTokens: number): void {
  check.count("position", position);
  check.count("nTokens", nTokens);
}

/** The first position that the first query sees: pages before it may be gone. */
function firstKey(check: OperandChecks, windowTokens: number | null, position: number): number {
  if (windowTokens === null) return 0;
  check.count("shape.windowTokens", windowTokens, { least: 1 });
  return Math.max(0, position + 1 - windowTokens);
}

function checkedBytes(kernels: Kernels): Pick<Kernels, "crc32c" | "crc32cSlots"> {
  const { arena } = kernels;
  const [crc32c, crc32cSlots] = ["crc32c", "crc32cSlots"].map((op) => new OperandChecks(arena, op)) as Checks<2>;
  return {
    crc32c(ptr, sizeBytes, seed = 0) {
      crc32c.count("sizeBytes", sizeBytes);
      crc32c.count("seed", seed, { most: 0xffffffff });
      crc32c.bytes("ptr", ptr, sizeBytes);
      return kernels.crc32c(ptr, sizeBytes, seed);
    },
    crc32cSlots(out, base, strideBytes, sizeBytes, slots, n, begin = 0, end = n) {
      crc32cSlots.count("n", n);
      crc32cSlots.count("sizeBytes", sizeBytes);
      crc32cSlots.count("strideBytes", strideBytes);
      crc32cSlots.range("slot", begin, end, n);
      crc32cSlots.f32("out", out, n);
      const found = { name: "out", ptr: out, sizeBytes: 4 * n };
      for (const slot of crc32cSlots.u32("slots", slots, n)) {
        const bytes = { name: `slot ${slot}`, ptr: base + slot * strideBytes, sizeBytes };
        crc32cSlots.bytes(bytes.name, bytes.ptr, sizeBytes);
        crc32cSlots.apart(found, bytes);
      }
      kernels.crc32cSlots(out, base, strideBytes, sizeBytes, slots, n, begin, end);
    },
  };
}
