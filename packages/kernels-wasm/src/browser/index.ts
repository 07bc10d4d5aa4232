export type { ComputePool } from "../threads/compute-pool.js";
export { createComputePool, type PagePoolOptions } from "./compute-pool.js";
