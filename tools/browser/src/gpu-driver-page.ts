import { runTable } from "./gpu-driver.js";

runTable((memory) => {
  const control = new SharedArrayBuffer(8);
  self.postMessage({ kind: "open", memory, control });
  return { control: new Int32Array(control), post: (message) => self.postMessage(message) };
});
