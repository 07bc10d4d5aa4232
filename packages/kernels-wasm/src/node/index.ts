export { type ComputePool, type ComputePoolOptions, createComputePool } from "./compute-pool.js";
export { type KernelRow, type MeasureKernelsOptions, measureHandOffUs, measureKernels } from "./measure-kernels.js";
