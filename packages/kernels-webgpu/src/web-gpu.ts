/**
 * A graphics processor, and kernels over a mirror of an arena on it.
 *
 * The same pointers as on the host name bytes of the mirror. `put` brings host bytes to it, `take` brings them back; ops between only record
 * dispatches, which `take` (or `submit`) sends off in one submission. Nothing is read back but what is taken.
 *
 * Invariants: what `put` brought before an op is there for it, ops run in the order in which they were recorded; a lost device, or a mistake that the
 * device has found, is thrown by the next `take` and by every one after it.
 */
/// <reference types="@webgpu/types" />
import {
  type Activation,
  assert,
  type DType,
  InputError,
  IoError,
  paddedLength,
  UnsupportedError,
} from "@flashwick/core";
import type { Arena, AttentionShape, KvCache, Matrix, Ptr, RotaryTables, SlotMatrix } from "@flashwick/kernels";
import { PARAMETERS, SHADERS, type ShaderName, WIDEST_HEAD } from "./shaders.js";

export interface WebGpuOptions {
  /** Default: `navigator.gpu`. In Node: of the `webgpu` package. */
  readonly gpu?: GPU;
  readonly powerPreference?: GPUPowerPreference;
}

/** An open device. */
export interface WebGpu {
  /** Vendor, architecture, description: as far as the browser tells. */
  readonly adapter: string;
  /** Largest arena that has a mirror: one storage binding. */
  readonly maxArenaBytes: number;
  /** Kernels over a mirror of `arena`, all zeros at first. @throws {InputError} for an arena beyond `maxArenaBytes`. */
  kernels(arena: Arena): DeviceKernels;
  close(): void;
}

/** Ops of decoding as in the contract of `@flashwick/kernels`, without scratch, on the mirror. */
export interface DeviceKernels {
  readonly arena: Arena;
  /** Host bytes to the mirror; both a multiple of 4. Cost: a copy now, the transfer with the next submission. */
  put(ptr: Ptr, sizeBytes: number): void;
  /** Mirror bytes to the host, after all that was recorded. @throws {IoError} `IO_READ` if the device is lost, or refused a dispatch. */
  take(ptr: Ptr, sizeBytes: number): Promise<void>;
  submit(): void;
  linear(out: Ptr, x: Ptr, w: Matrix, bias: Ptr, nTokens: number, rowBegin?: number, rowEnd?: number): void;
  ffnUp(
    act: Ptr,
    x: Ptr,
    m: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    activation: Activation,
    begin?: number,
    end?: number,
  ): void;
  ffnDown(
    out: Ptr,
    act: Ptr,
    m: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    colBegin?: number,
    colEnd?: number,
  ): void;
  layerNorm(out: Ptr, x: Ptr, weight: Ptr, bias: Ptr, n: number, nTokens: number, epsilon: number): void;
  add(out: Ptr, x: Ptr, count: number): void;
  relu(x: Ptr, count: number): void;
  zero(out: Ptr, count: number): void;
  gatherRow(out: Ptr, w: Matrix, row: number): void;
  storeKv(cache: KvCache, k: Ptr, v: Ptr, position: number, nTokens: number): void;
  rotate(x: Ptr, tables: RotaryTables, nHeads: number, position: number, nTokens: number): void;
  attention(
    out: Ptr,
    q: Ptr,
    cache: KvCache,
    shape: AttentionShape,
    position: number,
    nTokens: number,
    headBegin?: number,
    headEnd?: number,
  ): void;
  /** Frees the mirror. */
  release(): void;
}

const DTYPE_CODE: Readonly<Record<DType, number>> = { f32: 0, f16: 1, bf16: 2, int8: 3 };
/** Groups along x before y counts on. */
const GROUPS = 32768;
/** Bytes from one dispatch's parameters to the next: WebGPU's alignment of dynamic offsets. */
const PARAMETER_STRIDE = 256;
const DISPATCHES_A_SUBMISSION = 1024;

/**
 * Opens a device with the largest bindings that its adapter offers.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where there is no WebGPU, or no adapter.
 */
export async function openWebGpu({
  gpu = globalThis.navigator?.gpu,
  powerPreference,
}: WebGpuOptions = {}): Promise<WebGpu> {
  if (!gpu) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "WebGPU: expected navigator.gpu, found none; use a browser that has it, or in Node install the webgpu package, or compute on WebAssembly",
    );
  }
  const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {});
  if (!adapter) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "WebGPU: no adapter was found; check the driver, or compute on WebAssembly",
    );
  }
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const largest = Math.min(maxStorageBufferBindingSize, maxBufferSize);
  const device = await adapter.requestDevice({
    requiredLimits: { maxStorageBufferBindingSize: largest, maxBufferSize: largest },
  });
  return new OpenDevice(device, adapter.info, largest);
}

class OpenDevice implements WebGpu {
  readonly adapter: string;
  /** What went wrong first; null: nothing. */
  failure: IoError | null = null;
  readonly #pipelines = new Map<ShaderName, GPUComputePipeline>();
  readonly layout: GPUBindGroupLayout;

  constructor(
    readonly device: GPUDevice,
    { vendor, architecture, description }: GPUAdapterInfo,
    readonly maxArenaBytes: number,
  ) {
    this.adapter = [vendor, architecture, description].filter(Boolean).join(" ") || "unknown adapter";
    const visibility = 4; // GPUShaderStage.COMPUTE, which Node has no global for.
    this.layout = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility, buffer: { type: "storage" } },
        { binding: 1, visibility, buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 4 * PARAMETERS } },
      ],
    });
    void device.lost.then(({ message, reason }) => {
      if (reason !== "destroyed") this.#fail(`the device was lost (${message})`);
    });
    device.onuncapturederror = ({ error }) => this.#fail(`the device refused something (${error.message})`);
  }

  kernels(arena: Arena): DeviceKernels {
    const sizeBytes = arena.bytes.byteLength;
    if (sizeBytes > this.maxArenaBytes) {
      throw new InputError(
        "INPUT_INVALID",
        `WebGPU: an arena of ${sizeBytes} bytes, but ${this.adapter} binds ${this.maxArenaBytes} at most; use smaller arenas`,
        { details: { sizeBytes, most: this.maxArenaBytes } },
      );
    }
    return new MirrorKernels(this, arena);
  }

  pipeline(name: ShaderName): GPUComputePipeline {
    let pipeline = this.#pipelines.get(name);
    if (!pipeline) {
      const module = this.device.createShaderModule({ label: name, code: SHADERS[name] });
      const layout = this.device.createPipelineLayout({ bindGroupLayouts: [this.layout] });
      pipeline = this.device.createComputePipeline({ label: name, layout, compute: { module, entryPoint: "main" } });
      this.#pipelines.set(name, pipeline);
    }
    return pipeline;
  }

  close(): void {
    this.device.destroy();
  }

  #fail(what: string): void {
    this.failure ??= new IoError(
      "IO_READ",
      `WebGPU, ${this.adapter}: ${what}; go on with WebAssembly, or open the device again`,
    );
  }
}

/** A dispatch that waits for its submission. */
interface Dispatch {
  readonly shader: ShaderName;
  readonly groups: readonly [number, number, number];
}

// GPUBufferUsage and GPUMapMode by their numbers: Node has no globals for them.
const USAGE = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 } as const;
const MAP_READ = 1;

class MirrorKernels implements DeviceKernels {
  readonly #open: OpenDevice;
  readonly #mirror: GPUBuffer;
  readonly #uniforms: GPUBuffer;
  readonly #binding: GPUBindGroup;
  readonly #parameters = new Uint32Array((DISPATCHES_A_SUBMISSION * PARAMETER_STRIDE) / 4);
  #recorded: Dispatch[] = [];

  constructor(
    open: OpenDevice,
    readonly arena: Arena,
  ) {
    this.#open = open;
    const { device, layout } = open;
    const size = arena.bytes.byteLength;
    this.#mirror = device.createBuffer({ size, usage: USAGE.storage | USAGE.copySource | USAGE.copyTarget });
    this.#uniforms = device.createBuffer({
      size: this.#parameters.byteLength,
      usage: USAGE.uniform | USAGE.copyTarget,
    });
    this.#binding = device.createBindGroup({
      layout,
      entries: [
        { binding: 0, resource: { buffer: this.#mirror } },
        { binding: 1, resource: { buffer: this.#uniforms, size: 4 * PARAMETERS } },
      ],
    });
  }

  put(ptr: Ptr, sizeBytes: number): void {
    assert(ptr % 4 === 0 && sizeBytes % 4 === 0, "whole words are put");
    if (sizeBytes === 0) return;
    // Ops that were recorded before see what was there before.
    this.submit();
    // A copy: queues do not take shared memory.
    this.#open.device.queue.writeBuffer(this.#mirror, ptr, this.arena.bytes.slice(ptr, ptr + sizeBytes));
  }

  async take(ptr: Ptr, sizeBytes: number): Promise<void> {
    assert(ptr % 4 === 0 && sizeBytes % 4 === 0, "whole words are taken");
    this.submit();
    const { device } = this.#open;
    if (this.#open.failure) throw this.#open.failure;
    if (sizeBytes === 0) return;
    const staging = device.createBuffer({ size: sizeBytes, usage: USAGE.mapRead | USAGE.copyTarget });
    try {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(this.#mirror, ptr, staging, 0, sizeBytes);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(MAP_READ);
      this.arena.bytes.set(new Uint8Array(staging.getMappedRange()), ptr);
      staging.unmap();
    } catch (cause) {
      throw (
        this.#open.failure ??
        new IoError("IO_READ", `WebGPU: reading back failed (${(cause as Error).message})`, { cause })
      );
    } finally {
      staging.destroy();
    }
    if (this.#open.failure) throw this.#open.failure;
  }

  submit(): void {
    if (this.#recorded.length === 0) return;
    const { device } = this.#open;
    const words = (this.#recorded.length * PARAMETER_STRIDE) / 4;
    device.queue.writeBuffer(this.#uniforms, 0, this.#parameters.slice(0, words));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const [i, { shader, groups }] of this.#recorded.entries()) {
      pass.setPipeline(this.#open.pipeline(shader));
      pass.setBindGroup(0, this.#binding, [i * PARAMETER_STRIDE]);
      pass.dispatchWorkgroups(...groups);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    this.#recorded = [];
  }

  linear(out: Ptr, x: Ptr, w: Matrix, bias: Ptr, nTokens: number, rowBegin = 0, rowEnd = w.rows): void {
    const { data, scales, rows, cols, dtype } = w;
    const operands = [out, x, data, scales, bias, rows, cols, DTYPE_CODE[dtype], rowBegin, rowEnd];
    this.#record("linear", operands, ...wide(rowEnd - rowBegin), nTokens);
  }

  ffnUp(
    act: Ptr,
    x: Ptr,
    { base, strideBytes, scalesOffsetBytes, bias, dModel, dtype }: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    activation: Activation,
    begin = 0,
    end = n,
  ): void {
    const operands = [act, x, base, strideBytes, scalesOffsetBytes, bias, slots, n, dModel, DTYPE_CODE[dtype]];
    this.#record("ffnUp", [...operands, activation === "gelu" ? 1 : 0, begin, end], ...wide(end - begin), nTokens);
  }

  ffnDown(
    out: Ptr,
    act: Ptr,
    { base, strideBytes, downOffsetBytes, scalesOffsetBytes, dModel, dtype }: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    colBegin = 0,
    colEnd = paddedLength(dModel),
  ): void {
    const operands = [out, act, base, strideBytes, downOffsetBytes, scalesOffsetBytes, slots, n, dModel];
    const groups = Math.ceil((colEnd - colBegin) / 64);
    this.#record("ffnDown", [...operands, DTYPE_CODE[dtype], colBegin, colEnd], groups, 1, nTokens);
  }

  layerNorm(out: Ptr, x: Ptr, weight: Ptr, bias: Ptr, n: number, nTokens: number, epsilon: number): void {
    this.#record("layerNorm", [out, x, weight, bias, n, floatBits(epsilon)], nTokens, 1, 1);
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
    this.#record("gatherRow", [out, data, scales, cols, DTYPE_CODE[dtype], row], groups, 1, 1);
  }

  storeKv(cache: KvCache, k: Ptr, v: Ptr, position: number, nTokens: number): void {
    const { dtype, keys, values, keyScales, valueScales, capacityTokens, nKvHeads, headDim } = cache;
    const shape = [DTYPE_CODE[dtype], nKvHeads, headDim, capacityTokens, position, nTokens];
    const groups = Math.ceil((nKvHeads * nTokens) / 64);
    this.#record("storeKv", [k, keys, keyScales, ...shape], groups, 1, 1);
    this.#record("storeKv", [v, values, valueScales, ...shape], groups, 1, 1);
  }

  rotate(x: Ptr, { cos, sin, headDim }: RotaryTables, nHeads: number, position: number, nTokens: number): void {
    const groups = Math.ceil((nHeads * (headDim / 2) * nTokens) / 64);
    this.#record("rotate", [x, cos, sin, headDim, nHeads, position, nTokens], groups, 1, 1);
  }

  attention(
    out: Ptr,
    q: Ptr,
    cache: KvCache,
    { nHeads, scale, slopes = 0 }: AttentionShape,
    position: number,
    nTokens: number,
    headBegin = 0,
    headEnd = nHeads,
  ): void {
    const { dtype, keys, values, keyScales, valueScales, nKvHeads, headDim, capacityTokens } = cache;
    if (headDim > WIDEST_HEAD) {
      const message = `WebGPU attention: heads of ${headDim}, expected at most ${WIDEST_HEAD}; compute on WebAssembly`;
      throw new UnsupportedError("UNSUPPORTED_FEATURE", message, { details: { headDim } });
    }
    const stored = [keys, values, keyScales, valueScales, DTYPE_CODE[dtype], nKvHeads, headDim, capacityTokens];
    const operands = [out, q, ...stored, nHeads, floatBits(scale), slopes, position, headBegin];
    this.#record("attention", operands, headEnd - headBegin, nTokens, 1);
  }

  release(): void {
    this.#recorded = [];
    this.#mirror.destroy();
    this.#uniforms.destroy();
  }

  #elementwise(out: Ptr, x: Ptr, count: number, op: number): void {
    const groups = Math.ceil(count / 64);
    this.#record("elementwise", [out, x, count, op], Math.min(groups, 1024), Math.ceil(groups / 1024), 1);
  }

  #record(shader: ShaderName, operands: readonly number[], x: number, y: number, z: number): void {
    if (x === 0 || y === 0 || z === 0) return;
    assert(operands.length <= PARAMETERS, "the parameters have room");
    if (this.#recorded.length === DISPATCHES_A_SUBMISSION) this.submit();
    this.#parameters.set(operands, (this.#recorded.length * PARAMETER_STRIDE) / 4);
    this.#recorded.push({ shader, groups: [x, y, z] });
  }
}

/** So many groups, along x and then y. */
function wide(groups: number): [number, number] {
  return groups <= GROUPS ? [groups, 1] : [GROUPS, Math.ceil(groups / GROUPS)];
}

function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}
