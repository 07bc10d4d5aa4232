/** Limits of a believable model, whoever describes it. The largest OPT has 64 layers of width 9216, d_ff 36864 and 50272 tokens. */
export const MAX_LAYERS = 4096;
export const MAX_WIDTH = 2 ** 20;
export const MAX_VOCAB = 2 ** 24;
export const MAX_CONTEXT = 2 ** 24;
export const MAX_TOKEN_ID = 2 ** 32 - 1;
