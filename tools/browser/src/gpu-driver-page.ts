import { runTable } from "./gpu-driver.js";

runTable((memory) => {
  const control = new SharedArrayBuffer(4);
  self.postMessage({ kind: "open", memory, control });
  return { control: new Int32Array(control), post: (message) => self.postMessage(message) };
});
