export { compileByteVectorKernels } from "./byte-module.js";
export { poolScratch } from "./scratch-sizes.js";
export { type ActivationBits, createByteVectorKernels, createReadLoop, createWasmKernels } from "./wasm-kernels.js";
export { compileWasmKernels } from "./wasm-module.js";
