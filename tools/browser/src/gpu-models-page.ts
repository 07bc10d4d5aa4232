import { openWebGpu } from "@flashwick/kernels-webgpu";
import { runModels } from "./gpu-models.js";
import { losable } from "./losable-gpu.js";

const query = new URLSearchParams(location.search);
const openDevice = async () => {
  const { gpu, lose } = losable(navigator.gpu);
  return { device: await openWebGpu({ gpu }), lose };
};
const load = async (name: string) => new Uint8Array(await (await fetch(`/models/${name}`)).arrayBuffer());
const names = (key: string) => query.get(key)!.split(",");
runModels(openDevice, load, names("goldens"), names("demos")).then(
  (outcomes) => Object.assign(window, { outcomes }),
  (error) => Object.assign(window, { outcomes: { error: String(error) } }),
);
