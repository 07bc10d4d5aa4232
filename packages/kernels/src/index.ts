export { ARENA_RESERVED_BYTES, Arena, MAX_ARENA_BYTES, type Ptr } from "./arena.js";
export {
  type AttentionShape,
  type KernelFactory,
  type Kernels,
  type KvCache,
  type KvDType,
  type Matrix,
  type RotaryTables,
  type SlotMatrix,
  TAIL_BYTES,
  type TrainingKernels,
} from "./contract.js";
