export type { ComputePool, ComputePoolOptions } from "../threads/compute-pool.js";
export { createComputePool } from "./compute-pool.js";
export { provokeCollection } from "./garbage.js";
export { type KernelRow, type MeasureKernelsOptions, measureHandOffUs, measureKernels } from "./measure-kernels.js";
