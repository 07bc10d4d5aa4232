/** The conformance table of packages/kernels on this machine's device. */
import { Worker } from "node:worker_threads";
import { type DeviceTable, hostDevice } from "@flashwick/kernels-webgpu/conformance";
import type { ConformanceReport } from "./report.js";

/**
 * Runs every case that is a device's.
 *
 * @param worker The built conformance-worker.js.
 * @throws {Error} if the worker ends before the table does.
 */
export async function checkConformance(gpu: GPU, subgroups: boolean, worker: URL): Promise<ConformanceReport> {
  let thread: Worker | undefined;
  try {
    const { results } = await new Promise<DeviceTable>((resolve, reject) => {
      hostDevice({ gpu, subgroups }, (hear) => {
        thread = new Worker(worker).on("message", hear).once("error", reject);
      }).then(resolve, reject);
    });
    // What the device itself complained of stands among them, besides the cases.
    const cases = results.filter(({ title }) => !title.startsWith("device: ")).length;
    return { cases, failures: results.filter(({ failure }) => failure !== null) };
  } finally {
    await thread?.terminate();
  }
}
