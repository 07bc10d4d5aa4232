/** The thread that goes through the conformance table, and waits for the main thread's device at every op. */
import { parentPort } from "node:worker_threads";
import { runDeviceTable } from "@flashwick/kernels-webgpu/conformance";

runDeviceTable((memory) => {
  const control = new SharedArrayBuffer(8);
  parentPort!.postMessage({ kind: "open", memory, control });
  return { control: new Int32Array(control), post: (message) => parentPort!.postMessage(message) };
});
