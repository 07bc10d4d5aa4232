/** The conformance table of packages/kernels on this machine's device. */
import { Worker } from "node:worker_threads";
import { hostDevice } from "@flashwick/kernels-webgpu/conformance";
import type { ConformanceReport } from "./report.js";

/**
 * Runs every case that is a device's.
 *
 * @param worker The built conformance-worker.js.
 * @throws {Error} if the worker ends before the table does.
 */
export async function checkConformance(gpu: GPU, subgroups: boolean, worker: URL): Promise<ConformanceReport> {
  const thread = new Worker(worker);
  try {
    const died = new Promise<never>((_, reject) => thread.once("error", reject));
    const table = hostDevice({ gpu, subgroups }, (hear) => thread.on("message", hear));
    const { results } = await Promise.race([table, died]);
    // What the device itself complained of stands among them, besides the cases.
    const cases = results.filter(({ title }) => !title.startsWith("device: ")).length;
    return { cases, failures: results.filter(({ failure }) => failure !== null) };
  } finally {
    await thread.terminate();
  }
}
