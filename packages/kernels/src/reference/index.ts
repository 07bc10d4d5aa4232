export { activate, activateGated } from "./activation.js";
export { createReferenceKernels } from "./reference-kernels.js";
export { decodeRow } from "./row-decoder.js";
