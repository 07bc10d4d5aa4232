/** What the device's own memory gives: the ceiling of every kernel that reads each weight once. */
/// <reference types="@webgpu/types" />
import { assert } from "@flashwick/core";
import { bestTimeMs } from "./best-time.js";
import type { DeviceBandwidth } from "./report.js";

const THREADS = 256;
/** Enough to keep the largest devices busy; fewer where a thread would read less than it writes afterwards many times over. */
const MOST_WORKGROUPS = 2048;
const LEAST_READS_A_THREAD = 16;
const READ_BYTES = 16;

/** Every thread reads 16 bytes at a time, neighbours beside each other, and notes the exclusive or of what it saw: so that it must read. */
const READ = /* wgsl */ `
@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> seen: array<u32>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
  var own = vec4<u32>(0u);
  for (var i = id.x; i < arrayLength(&words); i += ${THREADS}u * workgroups.x) { own ^= words[i]; }
  seen[id.x] = own.x ^ own.y ^ own.z ^ own.w;
}
`;

// GPUBufferUsage and GPUMapMode by their numbers: Node has no globals for them.
const USAGE = { mapRead: 1, copySource: 4, copyTarget: 8, storage: 128 } as const;
const MAP_READ = 1;

/**
 * Checks that the reading shader has seen every word, then times it and a copy.
 *
 * @param sizeBytes Of the buffer, a multiple of 16; well beyond the device's caches, or it is those that are measured.
 * @throws {Error} if the shader has not seen what was written.
 */
export async function measureBandwidth(gpu: GPU, sizeBytes: number): Promise<DeviceBandwidth> {
  const device = await openDevice(gpu);
  try {
    const buffer = (size: number, usage: number) => device.createBuffer({ size, usage });
    const source = buffer(sizeBytes, USAGE.storage | USAGE.copySource | USAGE.copyTarget);
    const target = buffer(sizeBytes, USAGE.copyTarget);
    const workgroups = Math.min(MOST_WORKGROUPS, Math.ceil(sizeBytes / (THREADS * READ_BYTES * LEAST_READS_A_THREAD)));
    const seenBytes = 4 * THREADS * workgroups;
    const seen = buffer(seenBytes, USAGE.storage | USAGE.copySource);
    const staging = buffer(seenBytes, USAGE.mapRead | USAGE.copyTarget);
    const expected = fill(device, source, sizeBytes);
    const read = { run: readPass(device, source, seen, workgroups), settle: () => device.queue.onSubmittedWorkDone() };
    read.run();
    await expectSeen(device, seen, staging, expected);
    const copy = {
      run: () => submit(device, (encoder) => encoder.copyBufferToBuffer(source, 0, target, 0, sizeBytes)),
      settle: read.settle,
    };
    const readMs = await bestTimeMs(read);
    const copyMs = await bestTimeMs(copy);
    return { sizeBytes, readGbPerSec: sizeBytes / readMs / 1e6, copyGbPerSec: (2 * sizeBytes) / copyMs / 1e6 };
  } finally {
    device.destroy();
  }
}

async function openDevice(gpu: GPU): Promise<GPUDevice> {
  const adapter = await gpu.requestAdapter();
  assert(adapter, "an adapter that was there a moment ago still is");
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  return await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } });
}

/** Fills a buffer with numbers that repeat late, and returns the exclusive or of its words. */
function fill({ queue }: GPUDevice, buffer: GPUBuffer, sizeBytes: number): number {
  const piece = new Uint32Array(2 ** 18);
  let state = 1;
  let all = 0;
  for (let at = 0; at < sizeBytes; at += piece.byteLength) {
    const words = piece.subarray(0, Math.min(piece.length, (sizeBytes - at) / 4));
    for (let i = 0; i < words.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      words[i] = state;
      all ^= state;
    }
    queue.writeBuffer(buffer, at, words);
  }
  return all >>> 0;
}

function readPass(device: GPUDevice, source: GPUBuffer, seen: GPUBuffer, workgroups: number): () => void {
  const module = device.createShaderModule({ code: READ });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  const entries = [source, seen].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  return () =>
    submit(device, (encoder) => {
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(workgroups);
      pass.end();
    });
}

function submit(device: GPUDevice, record: (encoder: GPUCommandEncoder) => void): void {
  const encoder = device.createCommandEncoder();
  record(encoder);
  device.queue.submit([encoder.finish()]);
}

async function expectSeen(device: GPUDevice, seen: GPUBuffer, staging: GPUBuffer, expected: number): Promise<void> {
  submit(device, (encoder) => encoder.copyBufferToBuffer(seen, 0, staging, 0, staging.size));
  await staging.mapAsync(MAP_READ);
  const found = new Uint32Array(staging.getMappedRange()).reduce((all, word) => all ^ word, 0) >>> 0;
  staging.unmap();
  if (found === expected) return;
  throw new Error(
    `reading the device's memory: expected the exclusive or ${expected}, found ${found}; the device or its driver is at fault`,
  );
}
