/**
 * The mirror of an arena: one buffer of the device, with the arena's own offsets, and the dispatches that wait for it.
 *
 * Dispatches are only recorded; what is put, taken or submitted sends them off in one submission. Nothing is read back but what is taken.
 *
 * Invariant: what `put` brought before a dispatch is there for it, and dispatches run in the order in which they were recorded.
 */
/// <reference types="@webgpu/types" />
import { assert, DeviceLostError } from "@flashwick/core";
import type { Arena, Ptr } from "@flashwick/kernels";
import type { ShaderName } from "./operands.js";
import { PARAMETERS } from "./prelude.js";

/** Bytes from one dispatch's parameters to the next: WebGPU's alignment of dynamic offsets. */
const PARAMETER_STRIDE = 256;
const DISPATCHES_A_SUBMISSION = 1024;

/** The device that a mirror lives on. */
export interface MirrorDevice {
  readonly device: GPUDevice;
  /** Vendor and name, for messages. */
  readonly adapter: string;
  readonly layout: GPUBindGroupLayout;
  /** What went wrong first; null: nothing. */
  readonly failure: DeviceLostError | null;
  /** Of a shader; compiled when it is first asked for. */
  pipeline(name: ShaderName): GPUComputePipeline;
}

/** A dispatch that waits for its submission. */
interface Dispatch {
  readonly shader: ShaderName;
  readonly groups: readonly [number, number, number];
}

// GPUBufferUsage and GPUMapMode by their numbers: Node has no globals for them.
const USAGE = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 } as const;
const MAP_READ = 1;

/** Where a mirror lives on the device. */
interface DeviceBuffers {
  readonly bytes: GPUBuffer;
  readonly uniforms: GPUBuffer;
  readonly binding: GPUBindGroup;
}

export class DeviceMirror {
  readonly #open: MirrorDevice;
  readonly #arena: Arena;
  #made: DeviceBuffers | null = null;
  /** Where bytes are mapped to be read; null while it is in use, or before the first time. */
  #staging: GPUBuffer | null = null;
  readonly #parameters = new Uint32Array((DISPATCHES_A_SUBMISSION * PARAMETER_STRIDE) / 4);
  #recorded: Dispatch[] = [];
  #released = false;

  constructor(open: MirrorDevice, arena: Arena) {
    this.#open = open;
    this.#arena = arena;
  }

  /** See `MemoryLink.put`. */
  put(ptr: Ptr, sizeBytes: number): void {
    if (sizeBytes === 0) return;
    // Ops that were recorded before see what was there before.
    this.submit();
    const [begin, end] = wholeWords(ptr, sizeBytes);
    const bytes = this.#arena.bytes.subarray(begin, end);
    // Queues do not take shared memory.
    const sent = bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : bytes.slice();
    this.#open.device.queue.writeBuffer(this.#buffers().bytes, begin, sent);
  }

  /** See `MemoryLink.take`. */
  async take(ptr: Ptr, sizeBytes: number): Promise<void> {
    const [begin, end] = wholeWords(ptr, sizeBytes);
    await this.read(begin, end - begin, (bytes) => this.#arena.bytes.set(bytes, begin));
  }

  /** Notes a dispatch. One without groups is none. */
  record(shader: ShaderName, operands: readonly number[], groups: readonly [number, number, number]): void {
    if (groups.includes(0)) return;
    assert(operands.length <= PARAMETERS, "the parameters have room");
    if (this.#recorded.length === DISPATCHES_A_SUBMISSION) this.submit();
    this.#parameters.set(operands, (this.#recorded.length * PARAMETER_STRIDE) / 4);
    this.#recorded.push({ shader, groups });
  }

  /** Sends off what has been recorded. */
  submit(): void {
    if (this.#recorded.length === 0) return;
    const { device } = this.#open;
    const { uniforms, binding } = this.#buffers();
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

  release(): void {
    this.#released = true;
    this.#recorded = [];
    this.#made?.bytes.destroy();
    this.#made?.uniforms.destroy();
    this.#staging?.destroy();
    this.#made = null;
  }

  /** Shows bytes of the mirror, after all that was recorded. */
  async read(ptr: Ptr, sizeBytes: number, look: (bytes: Uint8Array) => void): Promise<void> {
    this.submit();
    const { device } = this.#open;
    this.#throwIfFailed();
    if (sizeBytes === 0) return;
    const staging = this.#borrowStaging(sizeBytes);
    try {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(this.#buffers().bytes, ptr, staging, 0, sizeBytes);
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
  #buffers(): DeviceBuffers {
    assert(!this.#released, "a released mirror is not used any more");
    this.#made ??= makeBuffers(this.#open, this.#arena.sizeBytes, this.#parameters.byteLength);
    return this.#made;
  }
}

function makeBuffers({ device, layout }: MirrorDevice, size: number, uniformBytes: number): DeviceBuffers {
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
