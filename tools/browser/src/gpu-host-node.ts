/** A process of its own: the driver of SwiftShader must be named in the environment before Node starts. Prints one JSON document. */
import { Worker } from "node:worker_threads";
import { hostDevice } from "@flashwick/kernels-webgpu/conformance";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
const subgroups = process.argv[2] !== "--no-subgroups";
const table = await hostDevice({ gpu: create([]), subgroups }, (hear) => {
  new Worker(new URL("./gpu-driver-node.mjs", import.meta.url)).on("message", hear);
});
process.stdout.write(`${JSON.stringify(table)}\n`, () => process.exit(0));
