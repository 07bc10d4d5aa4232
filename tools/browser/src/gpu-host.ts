/** Has the device, and does what a driver asks of it. */
import type { Arena } from "@flashwick/kernels";
import { type DeviceKernels, openWebGpu } from "@flashwick/kernels-webgpu";
import type { CaseResult, HostRequest } from "./gpu-driver.js";

export interface DeviceTable {
  readonly adapter: string;
  readonly results: readonly CaseResult[];
}

/**
 * @param gpu    The platform's.
 * @param listen Gives every message of the driver.
 */
export async function hostDevice(
  gpu: GPU | undefined,
  listen: (hear: (request: HostRequest) => void) => void,
): Promise<DeviceTable> {
  const device = await openWebGpu(gpu ? { gpu } : {});
  const results: CaseResult[] = [];
  let kernels: DeviceKernels | null = null;
  let control: Int32Array = new Int32Array(1);
  return await new Promise((resolve) => {
    listen(async (request) => {
      if (request.kind === "open") {
        control = new Int32Array(request.control);
        // All that kernels need of an arena is its bytes.
        kernels = device.kernels({ bytes: new Uint8Array(request.memory) } as unknown as Arena);
      } else if (request.kind === "result") {
        if (request.result.title === "end") resolve({ adapter: device.adapter, results });
        else results.push(request.result);
      } else {
        let outcome = 1;
        try {
          kernels!.put(0, request.usedBytes);
          (kernels as unknown as Record<string, (...args: unknown[]) => void>)[request.op]!(...request.args);
          await kernels!.take(0, request.usedBytes);
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
