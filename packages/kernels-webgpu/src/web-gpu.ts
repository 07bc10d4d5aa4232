/**
 * A graphics processor: opened once, with kernels over mirrors of as many arenas as there are.
 *
 * The same pointers as on the host name bytes of a mirror (mirror-kernels.ts). A lost device, or a mistake that the device has found, is thrown by the next
 * `take` and by every one after it.
 */
/// <reference types="@webgpu/types" />
import { DeviceLostError, InputError, UnsupportedError } from "@flashwick/core";
import type { Arena, HostKernels, Kernels } from "@flashwick/kernels";
import type { MirrorDevice } from "./device-mirror.js";
import { MirrorKernels } from "./mirror-kernels.js";
import type { ShaderName } from "./operands.js";
import { PARAMETERS } from "./prelude.js";
import { shaders, WORKGROUP_THREADS } from "./shaders.js";

/** A platform's WebGPU, `navigator.gpu` or what `create` of the package `webgpu` gives: as much of it as consumers without WebGPU's types can name. */
export interface GpuPlatform {
  /** As `GPU.requestAdapter`. */
  requestAdapter(options?: object): Promise<object | null>;
}

/** Which adapter {@link openWebGpu} asks for. */
export interface WebGpuOptions {
  /** Default: `navigator.gpu`. In Node: of the `webgpu` package. */
  readonly gpu?: GpuPlatform;
  readonly powerPreference?: "low-power" | "high-performance";
  /** Sums over a subgroup's registers where the adapter offers that; default true. Either way gives its own bits, the same for a batch as for its vectors. */
  readonly subgroups?: boolean;
}

/** An open device. */
export interface WebGpu {
  /** Vendor, architecture, description: as far as the browser tells. */
  readonly adapter: string;
  /** Largest arena that has a mirror: one storage binding. */
  readonly maxArenaBytes: number;
  /** Whether sums are taken over subgroups. */
  readonly subgroups: boolean;
  /**
   * Kernels over a mirror of `arena`, all zeros at first; made when the first bytes or ops come.
   *
   * @param host Kernels on the arena itself: checksums are of host memory.
   * @throws {InputError} for an arena beyond `maxArenaBytes`.
   */
  kernels(arena: Arena, host: HostKernels): Kernels;
  /** Frees an arena's mirror. Ops on it are an error from now on. */
  release(arena: Arena): void;
  /** Frees all mirrors and the device. */
  close(): void;
}

/**
 * Opens the platform's graphics processor.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where there is no WebGPU, or no adapter.
 */
export async function openWebGpu(options: WebGpuOptions = {}): Promise<WebGpu> {
  const { powerPreference, subgroups = true } = options;
  const gpu = (options.gpu ?? globalThis.navigator?.gpu) as GPU | undefined;
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
  // The feature has the sums; the language, the number of one's subgroup.
  const known = gpu.wgslLanguageFeatures?.has("subgroup_id") ?? false;
  const inSubgroups = subgroups && known && adapter.features.has("subgroups");
  const device = await adapter.requestDevice({
    requiredLimits: { maxStorageBufferBindingSize: largest, maxBufferSize: largest },
    requiredFeatures: inSubgroups ? ["subgroups"] : [],
  });
  return new OpenDevice(gpu, device, adapter.info, largest, inSubgroups);
}

/** So that what all threads of a workgroup read again, x, is worth its way. */
const LEAST_ROWS_A_GROUP = 4;

/** What kernels need of a device. */
export class OpenDevice implements WebGpu, MirrorDevice {
  readonly adapter: string;
  readonly layout: GPUBindGroupLayout;
  /** Rows that a workgroup has: some for each subgroup, however small they may be. */
  readonly rowsAGroup: number;
  /** What went wrong first; null: nothing. */
  failure: DeviceLostError | null = null;
  readonly #pipelines = new Map<ShaderName, GPUComputePipeline>();
  readonly #shaders: Readonly<Record<ShaderName, string>>;
  readonly #mirrors = new Map<Arena, MirrorKernels>();

  /** @param gpu Kept: the package `webgpu` (0.6.2) crashes if it is collected while a buffer is being mapped. */
  constructor(
    readonly gpu: GPU,
    readonly device: GPUDevice,
    { vendor, architecture, description, subgroupMinSize }: GPUAdapterInfo,
    readonly maxArenaBytes: number,
    readonly subgroups: boolean,
  ) {
    this.adapter = [vendor, architecture, description].filter(Boolean).join(" ") || "unknown adapter";
    const teams = subgroups ? WORKGROUP_THREADS / (subgroupMinSize ?? WORKGROUP_THREADS) : 1;
    this.rowsAGroup = Math.max(LEAST_ROWS_A_GROUP, teams);
    this.#shaders = shaders(this.rowsAGroup, subgroups);
    const visibility = 4; // GPUShaderStage.COMPUTE, which Node has no global for.
    this.layout = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility, buffer: { type: "storage" } },
        { binding: 1, visibility, buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 4 * PARAMETERS } },
      ],
    });
    void device.lost.then(({ message }) => this.#fail(`the device was lost (${message})`));
    device.onuncapturederror = ({ error }) => this.#fail(`the device refused something (${error.message})`);
  }

  kernels(arena: Arena, host: HostKernels): Kernels {
    const known = this.#mirrors.get(arena);
    if (known) return known;
    const { sizeBytes } = arena;
    if (sizeBytes > this.maxArenaBytes) {
      throw new InputError(
        "INPUT_INVALID",
        `WebGPU: an arena of ${sizeBytes} bytes, but ${this.adapter} binds ${this.maxArenaBytes} at most; use smaller arenas`,
        { details: { sizeBytes, most: this.maxArenaBytes } },
      );
    }
    const kernels = new MirrorKernels(this, arena, host);
    this.#mirrors.set(arena, kernels);
    return kernels;
  }

  release(arena: Arena): void {
    this.#mirrors.get(arena)?.release();
    this.#mirrors.delete(arena);
  }

  pipeline(name: ShaderName): GPUComputePipeline {
    let pipeline = this.#pipelines.get(name);
    if (!pipeline) {
      const module = this.device.createShaderModule({ label: name, code: this.#shaders[name] });
      const layout = this.device.createPipelineLayout({ bindGroupLayouts: [this.layout] });
      pipeline = this.device.createComputePipeline({ label: name, layout, compute: { module, entryPoint: "main" } });
      this.#pipelines.set(name, pipeline);
    }
    return pipeline;
  }

  close(): void {
    for (const arena of [...this.#mirrors.keys()]) this.release(arena);
    this.device.destroy();
  }

  #fail(what: string): void {
    this.failure ??= new DeviceLostError(
      `WebGPU, ${this.adapter}: ${what}; continue with WebAssembly, or open the device again`,
      { details: { adapter: this.adapter } },
    );
  }
}
