/** Has the device, and does what a driver asks of it. */
import type { Arena, HostKernels, Kernels } from "@flashwick/kernels";
import { openWebGpu, type WebGpuOptions } from "../web-gpu.js";
import type { CaseResult, HostRequest } from "./device-driver.js";

type Op = (...operands: unknown[]) => undefined | Promise<number>;

/** The table as it ran on a device. */
export interface DeviceTable {
  readonly adapter: string;
  readonly subgroups: boolean;
  readonly results: readonly CaseResult[];
}

/**
 * Opens a device, and resolves when a driver (device-driver.ts) has been through the table.
 *
 * @param options `gpu`: the platform's.
 * @param startDriver Starts a driver, and gives `hear` every message of it. Called once the device is there: what a worker says before anybody listens
 *   is lost, in Node as in a page.
 */
export async function hostDevice(
  options: WebGpuOptions,
  startDriver: (hear: (request: HostRequest) => void) => void,
): Promise<DeviceTable> {
  const device = await openWebGpu(options);
  const results: CaseResult[] = [];
  let kernels: Kernels | null = null;
  let control: Int32Array = new Int32Array(2);
  return await new Promise((resolve) => {
    startDriver(async (request) => {
      if (request.kind === "open") {
        control = new Int32Array(request.control);
        kernels = device.kernels(arenaOver(request.memory), {} as HostKernels);
      } else if (request.kind === "result") {
        if (request.result.title === "end") resolve({ adapter: device.adapter, subgroups: device.subgroups, results });
        else results.push(request.result);
      } else {
        let outcome = 1;
        try {
          kernels!.put(0, request.usedBytes);
          const op = (kernels as unknown as Record<string, Op>)[request.op]!;
          const returned = await op.apply(kernels, request.args as unknown[]);
          // What selectAbove has written is the host's already.
          if (returned === undefined) await kernels!.take(0, request.usedBytes);
          Atomics.store(control, 1, returned ?? 0);
        } catch (error) {
          results.push({ title: `device: ${request.op}`, failure: (error as Error).message });
          outcome = 2;
        }
        Atomics.store(control, 0, outcome);
        Atomics.notify(control, 0);
      }
    });
  });
}

/** All that kernels need of an arena. */
function arenaOver(memory: SharedArrayBuffer): Arena {
  const bytes = new Uint8Array(memory);
  const u32 = (ptr: number, length: number) => new Uint32Array(memory, ptr, length);
  return { bytes, sizeBytes: bytes.length, u32 } as unknown as Arena;
}
