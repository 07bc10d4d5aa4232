export { openWebGpu, type WebGpu, type WebGpuOptions } from "./web-gpu.js";
