/** Limits of a believable model, whoever describes it. The largest OPT has 64 layers of width 9216, d_ff 36864 and 50272 tokens. */
export const MAX_LAYERS = 4096;
export const MAX_WIDTH = 2 ** 20;
export const MAX_VOCAB = 2 ** 24;
export const MAX_CONTEXT = 2 ** 24;
export const MAX_TOKEN_ID = 2 ** 32 - 1;
/** Of a layer; llama.cpp has 512 at most. */
export const MAX_EXPERTS = 4096;
/** Of `expert_gating_func`: numbers beyond those that are known. */
export const MAX_GATING_FUNCTION = 255;
