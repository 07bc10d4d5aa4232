/** The number by which kernels on the other side of a boundary know an activation: as in kernels-wasm's assembly/activation.ts and in WGSL. */
import type { Activation } from "@flashwick/core";

/** The number of each activation in WebAssembly and WGSL. */
export const ACTIVATION_CODE: Readonly<Record<Activation, number>> = {
  relu: 0,
  relu2: 1,
  fatrelu: 2,
  silu: 3,
  gelu: 4,
  "gelu-tanh": 5,
  "swiglu-clamped": 6,
};
