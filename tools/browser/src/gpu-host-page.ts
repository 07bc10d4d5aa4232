import { hostDevice } from "@flashwick/kernels-webgpu/conformance";

const driver = new Worker("/gpu-driver-page.js", { type: "module" });
const table = await hostDevice({}, (hear) => {
  driver.onmessage = ({ data }) => hear(data);
});
(window as unknown as { table: unknown }).table = table;
