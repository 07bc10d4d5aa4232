export { activate, activateGated } from "./activation.js";
export { createByteVectorReference, createReferenceKernels } from "./reference-kernels.js";
export { decodeRow } from "./row-decoder.js";
