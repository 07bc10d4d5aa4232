/**
 * Numbers by which kernels on the other side of a boundary know a type of weights (dtype-code.ts).
 *
 * Nothing but constants: AssemblyScript compiles this file, too (kernels-wasm/assembly).
 */
export const F32 = 0;
export const F16 = 1;
export const BF16 = 2;
export const INT8 = 3;
export const Q4_0 = 4;
export const Q4_1 = 5;
export const Q5_0 = 6;
export const Q5_1 = 7;
export const Q8_0 = 8;
export const Q2_K = 9;
export const Q3_K = 10;
export const Q4_K = 11;
export const Q5_K = 12;
export const Q6_K = 13;
export const IQ4_NL = 14;
export const IQ4_XS = 15;
export const MXFP4 = 16;
