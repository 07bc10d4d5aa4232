import { hostDevice } from "@flashwick/kernels-webgpu/conformance";

const table = await hostDevice({}, (hear) => {
  new Worker("/gpu-driver-page.js", { type: "module" }).onmessage = ({ data }) => hear(data);
});
(window as unknown as { table: unknown }).table = table;
