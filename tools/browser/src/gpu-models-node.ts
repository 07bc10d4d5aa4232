/** A process of its own, as gpu-host-node.ts: models of the folder that is named first. Prints one JSON document. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openWebGpu } from "@flashwick/kernels-webgpu";
import { create } from "webgpu";
import { runModels } from "./gpu-models.js";
import { losable } from "./losable-gpu.js";

const [folder, goldens, demos] = process.argv.slice(2) as [string, string, string];
const openDevice = async () => {
  const { gpu, lose } = losable(create([]));
  return { device: await openWebGpu({ gpu }), lose };
};
const load = async (name: string) => new Uint8Array(await readFile(join(folder, name)));
const outcomes = await runModels(openDevice, load, goldens.split(","), demos.split(","));
process.stdout.write(`${JSON.stringify(outcomes)}\n`, () => process.exit(0));
