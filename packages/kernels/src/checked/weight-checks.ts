/** Checks of what ops read beside vectors: matrices, slots of neurons, caches of keys and values. */
import {
  ACTIVATIONS,
  type ActivationFunction,
  blockElements,
  type DType,
  isBlockDType,
  isDType,
  isRecordDType,
  KV_PAGE_TOKENS,
  kvPartBytes,
  MAX_INT8_COLS,
  needsGate,
  paddedLength,
  rowBytes,
} from "@flashwick/core";
import { gateRowOf, type KvCache, type Matrix, type SlotMatrix, TAIL_BYTES } from "../contract.js";
import type { OperandChecks } from "./operand-checks.js";

/** Addresses of rows are multiples of it: of an element, of 2 for blocks, and anything for those of MXFP4, which have 17 bytes. */
function rowAlignment(dtype: DType): number {
  if (dtype === "mxfp4") return 1;
  return isBlockDType(dtype) || dtype === "q4" ? 2 : rowBytes(dtype, 1);
}

/** Whole blocks of a type that kernels know. */
function checkColumns(check: OperandChecks, dtype: DType, name: string, cols: number): void {
  const most = dtype === "int8" ? MAX_INT8_COLS : Number.MAX_SAFE_INTEGER;
  check.count(name, cols, { least: 1, most, unit: blockElements(dtype) });
}

/** Rows `[begin, end)` of a matrix, and the zeros behind them: other rows may lie elsewhere. */
export function checkMatrix(check: OperandChecks, { dtype, ...w }: Matrix, begin: number, end: number): void {
  if (!isDType(dtype)) check.fail("w.dtype", "a type of weights", String(dtype));
  check.count("w.rows", w.rows);
  checkColumns(check, dtype, "w.cols", w.cols);
  check.range("row", begin, end, w.rows);
  if (begin === end) return;
  const stride = rowBytes(dtype, w.cols);
  const sizeBytes = (end - begin) * stride + TAIL_BYTES;
  check.bytes("w.data", w.data + begin * stride, sizeBytes, rowAlignment(dtype));
  if (dtype === "int8") check.f32("w.scales", w.scales, w.rows);
}

/** As {@link checkSlots}, of an op that reads the down column of each slot and nothing else of it: there may be nothing else. */
export function checkColumnSlots(check: OperandChecks, matrix: SlotMatrix, slots: number, n: number): void {
  const { dtype, base, strideBytes, downOffsetBytes, scalesOffsetBytes } = matrix;
  const vectorBytes = checkVectors(check, matrix, 1);
  check.count("matrix.downOffsetBytes", downOffsetBytes, placesIn(matrix, vectorBytes));
  if (dtype === "int8") checkScales(check, matrix, scalesOffsetBytes + (gateRowOf(matrix) ? 8 : 4), 4);
  for (const slot of check.u32("slots", slots, n)) {
    check.bytes(`slot ${slot}`, base + slot * strideBytes, strideBytes + TAIL_BYTES);
  }
}

/** The slots' layout, and those of them that the `n` numbers at `slots` name. */
export function checkSlots(check: OperandChecks, matrix: SlotMatrix, slots: number, n: number): void {
  checkRecord(check, matrix);
  const { base, strideBytes, bias } = matrix;
  const gate = gateRowOf(matrix);
  for (const slot of check.u32("slots", slots, n)) {
    check.bytes(`slot ${slot}`, base + slot * strideBytes, strideBytes + TAIL_BYTES);
    if (bias !== 0) check.f32(`bias of slot ${slot}`, bias + 4 * slot, 1);
    if (gate && gate.bias !== 0) check.f32(`gate bias of slot ${slot}`, gate.bias + 4 * slot, 1);
  }
}

/** Parts within the stride, at addresses that their elements allow. */
function checkRecord(check: OperandChecks, matrix: SlotMatrix): void {
  const gate = gateRowOf(matrix);
  const limits = placesIn(matrix, checkVectors(check, matrix, 2));
  check.count("matrix.upOffsetBytes", matrix.upOffsetBytes, limits);
  check.count("matrix.downOffsetBytes", matrix.downOffsetBytes, limits);
  if (gate) check.count("matrix.gate.offsetBytes", gate.offsetBytes, limits);
  if (matrix.dtype === "int8") checkScales(check, matrix, matrix.scalesOffsetBytes, gate ? 12 : 8);
}

/** Type, width and stride, which has room for so many vectors. @returns Bytes of a vector. */
function checkVectors(check: OperandChecks, { dtype, base, strideBytes, dModel }: SlotMatrix, least: number): number {
  if (!isRecordDType(dtype)) check.fail("matrix.dtype", "a type of neuron records", String(dtype));
  checkColumns(check, dtype, "matrix.dModel", dModel);
  const vectorBytes = rowBytes(dtype, paddedLength(dModel));
  check.count("matrix.base", base, { unit: rowAlignment(dtype) });
  check.count("matrix.strideBytes", strideBytes, { least: least * vectorBytes, unit: rowAlignment(dtype) });
  return vectorBytes;
}

/** Where a vector may begin in a slot. */
function placesIn({ dtype, strideBytes }: SlotMatrix, vectorBytes: number) {
  return { most: strideBytes - vectorBytes, unit: rowAlignment(dtype) };
}

/** @param offsetBytes Of the first one in a slot. */
function checkScales(
  check: OperandChecks,
  { base, strideBytes }: SlotMatrix,
  offsetBytes: number,
  scaleBytes: number,
): void {
  check.count("matrix.scalesOffsetBytes", offsetBytes, { most: strideBytes - scaleBytes });
  check.count("address of the scales", base + offsetBytes, { unit: 4 });
  check.count("matrix.strideBytes", strideBytes, { unit: 4 });
}

/** A function that neurons with or without a gate can have. */
export function checkActivation(
  check: OperandChecks,
  { kind, threshold, up }: ActivationFunction,
  gated: boolean,
): void {
  if (!ACTIVATIONS.includes(kind)) check.fail("activation.kind", `one of ${ACTIVATIONS.join(", ")}`, String(kind));
  if (needsGate(kind) && !(gated && up === "none")) check.fail("activation", `a gate, and up "none"`, kind);
  if (up !== "none" && up !== "relu") check.fail("activation.up", "none or relu", String(up));
  check.finite("activation.threshold", threshold);
}

/** The pages of positions `[begin, end)`: their entries in the table, and this layer's part of each. */
export function checkPages(check: OperandChecks, cache: KvCache, begin: number, end: number): void {
  const { dtype, nKvHeads, headDim, offsetBytes, pages } = cache;
  if (dtype !== "f32" && dtype !== "f16" && dtype !== "int8") check.fail("cache.dtype", "f32, f16 or int8", dtype);
  check.count("cache.nKvHeads", nKvHeads, { least: 1 });
  check.count("cache.headDim", headDim, { least: 1 });
  check.count("cache.offsetBytes", offsetBytes, { unit: 16 });
  if (begin >= end) return;
  const [first, last] = [Math.floor(begin / KV_PAGE_TOKENS), Math.floor((end - 1) / KV_PAGE_TOKENS)];
  const partBytes = kvPartBytes(dtype, nKvHeads, headDim);
  const table = check.u32("cache.pages", pages + 4 * first, last - first + 1);
  for (const [i, address] of table.entries()) {
    check.bytes(`page ${first + i} of the cache`, address + offsetBytes, partBytes, 16);
  }
}
