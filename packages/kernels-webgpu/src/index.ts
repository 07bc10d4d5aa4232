export { DEVICE_DTYPES, requireDeviceDType, requireDeviceRecords } from "./device-dtype.js";
export { DEVICE_SCRATCH } from "./mirror-kernels.js";
export { type GpuPlatform, openWebGpu, type WebGpu, type WebGpuOptions } from "./web-gpu.js";
