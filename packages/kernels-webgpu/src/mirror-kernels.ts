/**
 * The ops of decoding on a mirror of an arena: one buffer of the device, with the arena's own offsets.
 *
 * Ops only record dispatches; what is put, taken or submitted sends them off in one submission. Nothing is read back but what is taken.
 *
 * Invariants: what `put` brought before an op is there for it, and ops run in the order in which they were recorded. Checksums are of host memory: a
 * record is checked before it is put.
 */
/// <reference types="@webgpu/types" />
import {
  type ActivationFunction,
  assert,
  DeviceLostError,
  type DType,
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
import { ACTIVATION_CODE, ARENA_RESERVED_BYTES, dtypeCode, NO_SCRATCH } from "@flashwick/kernels";
import { requireDeviceDType } from "./device-dtype.js";
import { PARAMETERS, type ShaderName, WIDEST_HEAD } from "./shaders.js";
import type { OpenDevice } from "./web-gpu.js";

/** Groups along x before y counts on. */
const GROUPS = 32768;
/** Bytes from one dispatch's parameters to the next: WebGPU's alignment of dynamic offsets. */
const PARAMETER_STRIDE = 256;
const DISPATCHES_A_SUBMISSION = 1024;
/** Where a mirror has the answers of `selectAbove`: in what the arena reserves for a host's module. */
const ANSWER: Ptr = 64;

/** A dispatch that waits for its submission. */
interface Dispatch {
  readonly shader: ShaderName;
  readonly groups: readonly [number, number, number];
}

// GPUBufferUsage and GPUMapMode by their numbers: Node has no globals for them.
const USAGE = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 } as const;
const MAP_READ = 1;

/** Where a mirror lives on the device. */
interface Mirror {
  readonly bytes: GPUBuffer;
  readonly uniforms: GPUBuffer;
  readonly binding: GPUBindGroup;
}

/** Scratch of a device's kernels: none, its threads have registers of their own. */
export const DEVICE_SCRATCH: ScratchSizes = NO_SCRATCH;

export class MirrorKernels implements Kernels {
  readonly backend = "webgpu";
  readonly mirrored = true;
  readonly arena: Arena;
  readonly scratchBytes = DEVICE_SCRATCH.scratchBytes;
  readonly gatedScratchBytes = DEVICE_SCRATCH.gatedScratchBytes;
  readonly attentionScratchBytes = DEVICE_SCRATCH.attentionScratchBytes;
  readonly crc32c: Kernels["crc32c"];
  readonly crc32cSlots: Kernels["crc32cSlots"];
  readonly #open: OpenDevice;
  #mirror: Mirror | null = null;
  /** Where bytes are mapped to be read; null while it is in use, or before the first time. */
  #staging: GPUBuffer | null = null;
  readonly #parameters = new Uint32Array((DISPATCHES_A_SUBMISSION * PARAMETER_STRIDE) / 4);
  #recorded: Dispatch[] = [];
  #released = false;

  constructor(open: OpenDevice, arena: Arena, { crc32c, crc32cSlots }: HostKernels) {
    this.#open = open;
    this.arena = arena;
    this.crc32c = crc32c;
    this.crc32cSlots = crc32cSlots;
  }

  put(ptr: Ptr, sizeBytes: number): void {
    if (sizeBytes === 0) return;
    // Ops that were recorded before see what was there before.
    this.submit();
    const [begin, end] = wholeWords(ptr, sizeBytes);
    const bytes = this.arena.bytes.subarray(begin, end);
    // Queues do not take shared memory.
    const sent = bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : bytes.slice();
    this.#open.device.queue.writeBuffer(this.#mirrorOfArena().bytes, begin, sent);
  }

  async take(ptr: Ptr, sizeBytes: number): Promise<void> {
    const [begin, end] = wholeWords(ptr, sizeBytes);
    await this.#read(begin, end - begin, (bytes) => this.arena.bytes.set(bytes, begin));
  }

  submit(): void {
    if (this.#recorded.length === 0) return;
    const { device } = this.#open;
    const { uniforms, binding } = this.#mirrorOfArena();
    const words = (this.#recorded.length * PARAMETER_STRIDE) / 4;
    device.queue.writeBuffer(uniforms, 0, this.#parameters, 0, words);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const [i, { shader, groups }] of this.#recorded.entries()) {
      pass.setPipeline(this.#open.pipeline(shader));
      pass.setBindGroup(0, binding, [i * PARAMETER_STRIDE]);
      pass.dispatchWorkgroups(...groups);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    this.#recorded = [];
  }

  linear(out: Ptr, x: Ptr, w: Matrix, bias: Ptr, nTokens: number, _scratch: Ptr, rowBegin = 0, rowEnd = w.rows): void {
    const { data, scales, rows, cols, dtype } = w;
    const operands = [out, x, data, scales, bias, rows, cols, matrixCode(dtype), rowBegin, rowEnd];
    this.#record("linear", operands, ...wide((rowEnd - rowBegin) / this.#open.rowsAGroup), nTokens);
  }

  ffnUp(
    act: Ptr,
    x: Ptr,
    { base, strideBytes, upOffsetBytes, scalesOffsetBytes, bias, dModel, dtype, gate }: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    { kind, threshold, up }: ActivationFunction,
    _scratch: Ptr,
    begin = 0,
    end = n,
  ): void {
    const scales = base + scalesOffsetBytes + (gate ? 4 : 0);
    const operands = [act, x, base + upOffsetBytes, strideBytes, scales, bias, slots, n, dModel, dtypeCode(dtype)];
    operands.push(ACTIVATION_CODE[kind], begin, end, floatBits(threshold), gate ? 1 : 0);
    if (gate) operands.push(base + gate.offsetBytes, gate.bias, up === "relu" ? 1 : 0);
    this.#record("ffnUp", operands, ...wide((end - begin) / this.#open.rowsAGroup), nTokens);
  }

  ffnDown(
    out: Ptr,
    act: Ptr,
    { base, strideBytes, downOffsetBytes, scalesOffsetBytes, dModel, dtype, gate }: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    colBegin = 0,
    colEnd = paddedLength(dModel),
  ): void {
    // The last of a slot's scales.
    const scales = base + scalesOffsetBytes + (gate ? 8 : 4);
    const operands = [out, act, base + downOffsetBytes, strideBytes, scales, slots, n, dModel];
    const groups = Math.ceil((colEnd - colBegin) / 64);
    this.#record("ffnDown", [...operands, dtypeCode(dtype), colBegin, colEnd], groups, 1, nTokens);
  }

  layerNorm(out: Ptr, x: Ptr, weight: Ptr, bias: Ptr, n: number, nTokens: number, epsilon: number): void {
    this.#record("layerNorm", [out, x, weight, bias, n, floatBits(epsilon)], nTokens, 1, 1);
  }

  rmsNorm(out: Ptr, x: Ptr, weight: Ptr, n: number, nTokens: number, epsilon: number): void {
    this.#record("rmsNorm", [out, x, weight, n, floatBits(epsilon)], nTokens, 1, 1);
  }

  normHeads(x: Ptr, { kind, weight, bias, epsilon }: HeadNorm, nHeads: number, headDim: number, nTokens: number): void {
    const operands = [x, kind === "rms" ? 1 : 0, weight, bias, floatBits(epsilon), nHeads, headDim];
    this.#record("normHeads", operands, nHeads, nTokens, 1);
  }

  gate(act: Ptr, gate: Ptr, up: Ptr, count: number, { kind, threshold, up: g }: ActivationFunction): void {
    const operands = [act, gate, up, count, ACTIVATION_CODE[kind], floatBits(threshold), g === "relu" ? 1 : 0];
    this.#record("gate", operands, ...elementGroups(count), 1);
  }

  scale(x: Ptr, count: number, factor: number): void {
    this.#elementwise(x, x, count, 3, factor);
  }

  add(out: Ptr, x: Ptr, count: number): void {
    this.#elementwise(out, x, count, 0);
  }

  relu(x: Ptr, count: number): void {
    this.#elementwise(x, x, count, 1);
  }

  zero(out: Ptr, count: number): void {
    this.#elementwise(out, out, count, 2);
  }

  gatherRow(out: Ptr, { data, scales, cols, dtype }: Matrix, row: number): void {
    const groups = Math.ceil(paddedLength(cols) / 64);
    this.#record("gatherRow", [out, data, scales, cols, matrixCode(dtype), row], groups, 1, 1);
  }

  storeKv(cache: KvCache, k: Ptr, v: Ptr, position: number, nTokens: number): void {
    const { dtype, pages, offsetBytes, nKvHeads, headDim } = cache;
    const operands = [k, v, pages, offsetBytes, dtypeCode(dtype), nKvHeads, headDim, position, nTokens];
    this.#record("storeKv", operands, Math.ceil((nKvHeads * nTokens) / 64), 2, 1);
  }

  rotate(x: Ptr, tables: RotaryTables, nHeads: number, position: number, nTokens: number): void {
    const { cos, sin, headDim, dims, pairs } = tables;
    const groups = Math.ceil((nHeads * (dims / 2) * nTokens) / 64);
    const operands = [x, cos, sin, headDim, nHeads, position, nTokens, dims, pairs === "neighbours" ? 1 : 0];
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
    const stored = [pages, offsetBytes, dtypeCode(dtype), nKvHeads, headDim];
    const operands = [out, q, ...stored, nHeads, floatBits(scale), slopes, position, headBegin];
    operands.push(windowTokens ?? 0, sinks);
    this.#record("attention", operands, headEnd - headBegin, nTokens, 1);
  }

  /** One bit a score comes back, in words of 32. */
  async selectAbove(out: Ptr, scores: Ptr, n: number, threshold: number): Promise<number> {
    if (n === 0) return 0;
    const words = Math.ceil(n / 32);
    assert(ANSWER + 4 * words <= ARENA_RESERVED_BYTES, "the reserved bytes hold a bit for every score");
    this.#record("selectAbove", [ANSWER, scores, n, floatBits(threshold)], Math.ceil(words / 64), 1, 1);
    const selected = this.arena.u32(out, n);
    let count = 0;
    await this.#read(ANSWER, 4 * words, (bytes) => {
      const answer = new Uint32Array(bytes.buffer, bytes.byteOffset, words);
      for (let i = 0; i < n; i++) if (((answer[i >> 5]! >>> (i & 31)) & 1) === 1) selected[count++] = i;
    });
    return count;
  }

  release(): void {
    this.#released = true;
    this.#recorded = [];
    this.#mirror?.bytes.destroy();
    this.#mirror?.uniforms.destroy();
    this.#staging?.destroy();
    this.#mirror = null;
  }

  /** Shows bytes of the mirror, after all that was recorded. */
  async #read(ptr: Ptr, sizeBytes: number, look: (bytes: Uint8Array) => void): Promise<void> {
    this.submit();
    const { device } = this.#open;
    this.#throwIfFailed();
    if (sizeBytes === 0) return;
    const staging = this.#borrowStaging(sizeBytes);
    try {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(this.#mirrorOfArena().bytes, ptr, staging, 0, sizeBytes);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(MAP_READ, 0, sizeBytes);
      look(new Uint8Array(staging.getMappedRange(0, sizeBytes)));
      staging.unmap();
    } catch (cause) {
      staging.destroy();
      this.#throwIfFailed();
      const message = `WebGPU, ${this.#open.adapter}: reading back failed (${(cause as Error).message}); open the device again`;
      throw new DeviceLostError(message, { cause });
    }
    this.#returnStaging(staging);
    this.#throwIfFailed();
  }

  #borrowStaging(sizeBytes: number): GPUBuffer {
    const held = this.#staging;
    this.#staging = null;
    if (held && held.size >= sizeBytes) return held;
    held?.destroy();
    return this.#open.device.createBuffer({ size: sizeBytes, usage: USAGE.mapRead | USAGE.copyTarget });
  }

  #returnStaging(staging: GPUBuffer): void {
    if (this.#staging || this.#released) staging.destroy();
    else this.#staging = staging;
  }

  #throwIfFailed(): void {
    if (this.#open.failure) throw this.#open.failure;
  }

  /** Not before it is needed. */
  #mirrorOfArena(): Mirror {
    assert(!this.#released, "a released mirror is not used any more");
    this.#mirror ??= makeMirror(this.#open, this.arena.sizeBytes, this.#parameters.byteLength);
    return this.#mirror;
  }

  #elementwise(out: Ptr, x: Ptr, count: number, op: number, factor = 0): void {
    this.#record("elementwise", [out, x, count, op, floatBits(factor)], ...elementGroups(count), 1);
  }

  #record(shader: ShaderName, operands: readonly number[], x: number, y: number, z: number): void {
    if (x === 0 || y === 0 || z === 0) return;
    assert(operands.length <= PARAMETERS, "the parameters have room");
    if (this.#recorded.length === DISPATCHES_A_SUBMISSION) this.submit();
    this.#parameters.set(operands, (this.#recorded.length * PARAMETER_STRIDE) / 4);
    this.#recorded.push({ shader, groups: [x, y, z] });
  }
}

function makeMirror({ device, layout }: OpenDevice, size: number, uniformBytes: number): Mirror {
  const bytes = device.createBuffer({ size, usage: USAGE.storage | USAGE.copySource | USAGE.copyTarget });
  const uniforms = device.createBuffer({ size: uniformBytes, usage: USAGE.uniform | USAGE.copyTarget });
  const binding = device.createBindGroup({
    layout,
    entries: [
      { binding: 0, resource: { buffer: bytes } },
      { binding: 1, resource: { buffer: uniforms, size: 4 * PARAMETERS } },
    ],
  });
  return { bytes, uniforms, binding };
}

/** Queues move words of 4 bytes; allocations of an arena begin and end on 16. */
function wholeWords(ptr: Ptr, sizeBytes: number): [number, number] {
  // Pointers go up to 4 GiB: bitwise operators would make those beyond 2 GiB negative.
  return [Math.floor(ptr / 4) * 4, Math.ceil((ptr + sizeBytes) / 4) * 4];
}

/** @throws {UnsupportedError} for blocks: no shader reads them yet. */
function matrixCode(dtype: DType): number {
  requireDeviceDType(dtype);
  return dtypeCode(dtype);
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

function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}
