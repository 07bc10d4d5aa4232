import { runDeviceTable } from "@flashwick/kernels-webgpu/conformance";

runDeviceTable((memory) => {
  const control = new SharedArrayBuffer(8);
  self.postMessage({ kind: "open", memory, control });
  return { control: new Int32Array(control), post: (message) => self.postMessage(message) };
});
