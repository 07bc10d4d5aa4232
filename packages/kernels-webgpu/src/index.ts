export { type DeviceKernels, openWebGpu, type WebGpu, type WebGpuOptions } from "./web-gpu.js";
