export { ACTIVATION_CODE } from "./activation-code.js";
export { ARENA_RESERVED_BYTES, Arena, MAX_ARENA_BYTES, type Ptr } from "./arena.js";
export {
  type AttentionShape,
  gateRowOf,
  type HeadNorm,
  type HostKernels,
  type KernelFactory,
  type Kernels,
  type KvCache,
  type KvDType,
  kernelFactory,
  type Matrix,
  type MemoryLink,
  type NeuronGate,
  NO_SCRATCH,
  ONE_MEMORY,
  type RotaryTables,
  type ScratchSizes,
  type SlotMatrix,
  TAIL_BYTES,
  type TrainingKernels,
} from "./contract.js";
export { dtypeCode } from "./dtype-code.js";
