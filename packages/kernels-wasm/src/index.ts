export { poolScratch } from "./scratch-sizes.js";
export { createReadLoop, createWasmKernels } from "./wasm-kernels.js";
export { compileWasmKernels } from "./wasm-module.js";
