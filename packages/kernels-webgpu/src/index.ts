export { DEVICE_DTYPES, requireDeviceDType, requireDeviceRecords } from "./device-dtype.js";
export { DEVICE_SCRATCH } from "./mirror-kernels.js";
export { openWebGpu, type WebGpu, type WebGpuOptions } from "./web-gpu.js";
