/**
 * The ops of decoding on a mirror of an arena (device-mirror.ts): each op is one dispatch with the arena's own pointers, or two.
 *
 * Checksums are of host memory: a record is checked before it is put.
 */
import {
  type ActivationFunction,
  assert,
  assertActivation,
  blockElements,
  paddedLength,
  UnsupportedError,
} from "@flashwick/core";
import type {
  Arena,
  AttentionShape,
  HeadNorm,
  HostKernels,
  Kernels,
  KvCache,
  Matrix,
  Ptr,
  RotaryTables,
  ScratchSizes,
  SlotMatrix,
} from "@flashwick/kernels";
import { ACTIVATION_CODE, ARENA_RESERVED_BYTES, gateRowOf, NO_SCRATCH } from "@flashwick/kernels";
import { BLOCK_ROWS, BLOCK_TOKENS, GROUPS_A_WORKGROUP, groupedBytes } from "./block-shaders.js";
import { kvCode, matrixShader, recordCode } from "./device-dtype.js";
import { DeviceMirror, type MirrorDevice } from "./device-mirror.js";
import { floatBits, type Operands, operandWords, type ShaderName } from "./operands.js";
import { WIDEST_HEAD } from "./shaders.js";

/** Groups along x before y counts on. */
const GROUPS = 32768;
/** Where a mirror has the answers of `selectAbove`: in what the arena reserves for a host's module. */
const ANSWER: Ptr = 64;

/** Scratch of a device's kernels: for the rounded vectors beside blocks. For the rest its threads have registers of their own. */
export const DEVICE_SCRATCH: ScratchSizes = {
  ...NO_SCRATCH,
  scratchBytes: groupedBytes,
  gatedScratchBytes: groupedBytes,
};

export class MirrorKernels implements Kernels {
  readonly backend = "webgpu";
  readonly mirrored = true;
  readonly arena: Arena;
  readonly scratchBytes = DEVICE_SCRATCH.scratchBytes;
  readonly gatedScratchBytes = DEVICE_SCRATCH.gatedScratchBytes;
  readonly attentionScratchBytes = DEVICE_SCRATCH.attentionScratchBytes;
  readonly crc32c: Kernels["crc32c"];
  readonly crc32cSlots: Kernels["crc32cSlots"];
  readonly #rowsAGroup: number;
  readonly #mirror: DeviceMirror;

  /** @param device `rowsAGroup`: rows that a workgroup has. */
  constructor(
    device: MirrorDevice & { readonly rowsAGroup: number },
    arena: Arena,
    { crc32c, crc32cSlots }: HostKernels,
  ) {
    this.#rowsAGroup = device.rowsAGroup;
    this.#mirror = new DeviceMirror(device, arena);
    this.arena = arena;
    this.crc32c = crc32c;
    this.crc32cSlots = crc32cSlots;
  }

  put(ptr: Ptr, sizeBytes: number): void {
    this.#mirror.put(ptr, sizeBytes);
  }

  async take(ptr: Ptr, sizeBytes: number): Promise<void> {
    await this.#mirror.take(ptr, sizeBytes);
  }

  submit(): void {
    this.#mirror.submit();
  }

  linear(out: Ptr, x: Ptr, w: Matrix, bias: Ptr, nTokens: number, scratch: Ptr, rowBegin = 0, rowEnd = w.rows): void {
    const { data, scales, rows, cols, dtype } = w;
    const { shader, code } = matrixShader("linear", dtype);
    const operands = { out, x, data, scales, bias, rows, cols, dtype: code, rowBegin, rowEnd };
    const count = rowEnd - rowBegin;
    if (shader === "linear") {
      this.#record(shader, operands, ...wide(count / this.#rowsAGroup), nTokens);
      return;
    }
    assert(cols % blockElements(dtype) === 0, `${cols} columns are a whole number of ${dtype} blocks`);
    if (count === 0) return;
    this.#record("groupVectors", { scratch, x, cols }, Math.ceil(cols / 32 / GROUPS_A_WORKGROUP), nTokens, 1);
    const tokenGroups = Math.ceil(nTokens / BLOCK_TOKENS);
    this.#record(shader, { ...operands, nTokens, scratch, zero: 0 }, ...wide(count / BLOCK_ROWS), tokenGroups);
  }

  ffnUp(
    act: Ptr,
    x: Ptr,
    matrix: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    activation: ActivationFunction,
    _scratch: Ptr,
    begin = 0,
    end = n,
  ): void {
    const { base, strideBytes, upOffsetBytes, scalesOffsetBytes, bias, dModel, dtype } = matrix;
    assertActivation(activation, matrix.gate !== null);
    const { kind, threshold, up } = activation;
    const gate = gateRowOf(matrix);
    const scales = base + scalesOffsetBytes + (gate ? 4 : 0);
    const gateOperands = {
      isGated: gate ? 1 : matrix.gate === "given" ? 2 : 0,
      gate: gate ? base + gate.offsetBytes : 0,
      gateBias: gate?.bias ?? 0,
      upRelu: matrix.gate !== null && up === "relu" ? 1 : 0,
    };
    const operands = {
      ...{ act, x, up: base + upOffsetBytes, stride: strideBytes, scales, bias, slots, n, dModel },
      ...{ dtype: recordCode(dtype), kind: ACTIVATION_CODE[kind], begin, end, threshold: floatBits(threshold) },
      ...gateOperands,
    };
    this.#record("ffnUp", operands, ...wide((end - begin) / this.#rowsAGroup), nTokens);
  }

  ffnDown(
    out: Ptr,
    act: Ptr,
    matrix: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    colBegin = 0,
    colEnd = paddedLength(matrix.dModel),
  ): void {
    const { base, strideBytes, downOffsetBytes, scalesOffsetBytes, dModel, dtype } = matrix;
    // The last of a slot's scales.
    const scales = base + scalesOffsetBytes + (gateRowOf(matrix) ? 8 : 4);
    const record = { down: base + downOffsetBytes, stride: strideBytes, scales, dtype: recordCode(dtype) };
    const groups = Math.ceil((colEnd - colBegin) / 64);
    this.#record("ffnDown", { out, act, ...record, slots, n, dModel, colBegin, colEnd }, groups, 1, nTokens);
  }

  layerNorm(out: Ptr, x: Ptr, weight: Ptr, bias: Ptr, n: number, nTokens: number, epsilon: number): void {
    this.#record("layerNorm", { out, x, weight, bias, n, epsilon: floatBits(epsilon) }, nTokens, 1, 1);
  }

  rmsNorm(out: Ptr, x: Ptr, weight: Ptr, n: number, nTokens: number, epsilon: number): void {
    this.#record("rmsNorm", { out, x, weight, n, epsilon: floatBits(epsilon) }, nTokens, 1, 1);
  }

  normHeads(x: Ptr, { kind, weight, bias, epsilon }: HeadNorm, nHeads: number, headDim: number, nTokens: number): void {
    const isRms = kind === "rms" ? 1 : 0;
    const operands = { x, isRms, weight, bias, epsilon: floatBits(epsilon), nHeads, headDim };
    this.#record("normHeads", operands, nHeads, nTokens, 1);
  }

  gate(act: Ptr, gate: Ptr, up: Ptr, count: number, activation: ActivationFunction): void {
    assertActivation(activation, true);
    const { kind, threshold, up: g } = activation;
    const f = { kind: ACTIVATION_CODE[kind], threshold: floatBits(threshold), upRelu: g === "relu" ? 1 : 0 };
    this.#record("gate", { act, gate, up, count, ...f }, ...elementGroups(count), 1);
  }

  scale(x: Ptr, count: number, factor: number): void {
    this.#elementwise(x, x, count, 3, factor);
  }

  add(out: Ptr, x: Ptr, count: number): void {
    this.#elementwise(out, x, count, 0);
  }

  addScaled(out: Ptr, x: Ptr, count: number, factor: number): void {
    this.#elementwise(out, x, count, 4, factor);
  }

  copyRows(out: Ptr, x: Ptr, rows: Ptr, n: number, cols: number): void {
    this.#record("copyRows", { out, x, rows, cols }, Math.ceil(paddedLength(cols) / 64), n, 1);
  }

  addRowsScaled(out: Ptr, x: Ptr, rows: Ptr, factors: Ptr, n: number, cols: number): void {
    this.#record("addRowsScaled", { out, x, rows, factors, cols, zero: 0 }, Math.ceil(cols / 64), n, 1);
  }

  relu(x: Ptr, count: number): void {
    this.#elementwise(x, x, count, 1);
  }

  zero(out: Ptr, count: number): void {
    this.#elementwise(out, out, count, 2);
  }

  gatherRow(out: Ptr, { data, scales, cols, dtype }: Matrix, row: number): void {
    const groups = Math.ceil(paddedLength(cols) / 64);
    const { shader, code } = matrixShader("gatherRow", dtype);
    this.#record(shader, { out, dtype: code, data, scales, cols, row }, groups, 1, 1);
  }

  storeKv(cache: KvCache, k: Ptr, v: Ptr, position: number, nTokens: number): void {
    const { dtype, pages, offsetBytes, nKvHeads, headDim } = cache;
    const stored = { pages, offset: offsetBytes, dtype: kvCode(dtype), nKvHeads, headDim };
    this.#record("storeKv", { k, v, ...stored, position, nTokens }, Math.ceil((nKvHeads * nTokens) / 64), 2, 1);
  }

  rotate(x: Ptr, tables: RotaryTables, nHeads: number, position: number, nTokens: number): void {
    const { cos, sin, headDim, dims, pairs } = tables;
    const groups = Math.ceil((nHeads * (dims / 2) * nTokens) / 64);
    const neighbours = pairs === "neighbours" ? 1 : 0;
    const operands = { x, cos, sin, headDim, nHeads, position, nTokens, dims, neighbours };
    this.#record("rotate", operands, groups, 1, 1);
  }

  attention(
    out: Ptr,
    q: Ptr,
    cache: KvCache,
    { nHeads, scale, slopes = 0, windowTokens, sinks = 0 }: AttentionShape,
    position: number,
    nTokens: number,
    _scratch: Ptr,
    headBegin = 0,
    headEnd = nHeads,
  ): void {
    const { dtype, pages, offsetBytes, nKvHeads, headDim } = cache;
    if (headDim > WIDEST_HEAD) {
      const message = `WebGPU attention: heads of ${headDim}, expected at most ${WIDEST_HEAD}; compute on WebAssembly`;
      throw new UnsupportedError("UNSUPPORTED_FEATURE", message, { details: { headDim } });
    }
    const stored = { pages, offset: offsetBytes, dtype: kvCode(dtype), nKvHeads, headDim };
    const how = { nHeads, scale: floatBits(scale), slopes, window: windowTokens ?? 0, sinks };
    this.#record("attention", { out, q, ...stored, ...how, position, headBegin }, headEnd - headBegin, nTokens, 1);
  }

  /** One bit a score comes back, in words of 32. */
  async selectAbove(out: Ptr, scores: Ptr, n: number, threshold: number): Promise<number> {
    if (n === 0) return 0;
    const words = Math.ceil(n / 32);
    assert(ANSWER + 4 * words <= ARENA_RESERVED_BYTES, "the reserved bytes hold a bit for every score");
    const operands = { out: ANSWER, scores, n, threshold: floatBits(threshold) };
    this.#record("selectAbove", operands, Math.ceil(words / 64), 1, 1);
    const selected = this.arena.u32(out, n);
    let count = 0;
    await this.#mirror.read(ANSWER, 4 * words, (bytes) => {
      const answer = new Uint32Array(bytes.buffer, bytes.byteOffset, words);
      for (let i = 0; i < n; i++) if (((answer[i >> 5]! >>> (i & 31)) & 1) === 1) selected[count++] = i;
    });
    return count;
  }

  release(): void {
    this.#mirror.release();
  }

  #elementwise(out: Ptr, x: Ptr, count: number, op: number, factor = 0): void {
    const operands = { out, x, count, op, factor: floatBits(factor), zero: 0 };
    this.#record("elementwise", operands, ...elementGroups(count), 1);
  }

  #record<Shader extends ShaderName>(
    shader: Shader,
    operands: Operands<Shader>,
    x: number,
    y: number,
    z: number,
  ): void {
    this.#mirror.record(shader, operandWords(shader, operands), [x, y, z]);
  }
}

/** So many groups, along x and then y. */
function wide(work: number): [number, number] {
  const groups = Math.ceil(work);
  return groups <= GROUPS ? [groups, 1] : [GROUPS, Math.ceil(groups / GROUPS)];
}

/** A thread an element, 65536 of them along x. */
function elementGroups(count: number): [number, number] {
  const groups = Math.ceil(count / 64);
  return [Math.min(groups, 1024), Math.ceil(groups / 1024)];
}
