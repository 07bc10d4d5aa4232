export { createReferenceKernels } from "./reference-kernels.js";
