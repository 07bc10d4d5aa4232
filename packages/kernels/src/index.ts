export { ARENA_RESERVED_BYTES, Arena, MAX_ARENA_BYTES, type Ptr } from "./arena.js";
export {
  type AttentionShape,
  type HostKernels,
  type KernelFactory,
  type Kernels,
  type KvCache,
  type KvDType,
  type Matrix,
  type MemoryLink,
  ONE_MEMORY,
  type RotaryTables,
  type SlotMatrix,
  TAIL_BYTES,
  type TrainingKernels,
} from "./contract.js";
