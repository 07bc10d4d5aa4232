export { activate, activateGated } from "./activation.js";
export { BLOCK_ELEMENTS, BlockEncoder, chooseScaleQ4, roundQ4 } from "./block-encoder.js";
export { roundTiesToEven } from "./quantised-vector.js";
export { createByteVectorReference, createReferenceKernels } from "./reference-kernels.js";
export { decodeRow } from "./row-decoder.js";
