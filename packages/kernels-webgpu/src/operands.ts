/**
 * The operands of each shader, by name, in their order among the parameters of a dispatch. WGSL reads `u(opRows)`, or `fu(opEpsilon)` where an operand is
 * the bits of an f32; the host writes `{ rows }`. A name is a pointer (a byte offset into the mirror), a count or a code.
 */
const LINEAR = ["out", "x", "data", "scales", "bias", "rows", "cols", "dtype", "rowBegin", "rowEnd"] as const;
const GATHER_ROW = ["out", "dtype", "data", "scales", "cols", "row"] as const;
/** `zero` is 0, which compilers do not know (`rounded` of the prelude). */
const LINEAR_OF_BLOCKS = [...LINEAR, "nTokens", "scratch", "zero"] as const;

/** Ops with shaders by type of weights have an entry for each. */
export const OPERANDS = {
  linear: LINEAR,
  /**
   * Pointers of rows and scales are those of slot 0; a gate's scale lies in front of the up row's. The last three are of gated neurons, `isGated` 1; 2:
   * act has the gates' sums.
   */
  ffnUp: [
    ...["act", "x", "up", "stride", "scales", "bias", "slots", "n", "dModel", "dtype", "kind", "begin", "end"],
    ...["threshold", "isGated", "gate", "gateBias", "upRelu"],
  ],
  ffnDown: ["out", "act", "down", "stride", "scales", "slots", "n", "dModel", "dtype", "colBegin", "colEnd"],
  layerNorm: ["out", "x", "weight", "bias", "n", "epsilon"],
  rmsNorm: ["out", "x", "weight", "n", "epsilon"],
  normHeads: ["x", "isRms", "weight", "bias", "epsilon", "nHeads", "headDim"],
  gate: ["act", "gate", "up", "count", "kind", "threshold", "upRelu"],
  elementwise: ["out", "x", "count", "op", "factor", "zero"],
  copyRows: ["out", "x", "rows", "cols"],
  addRowsScaled: ["out", "x", "rows", "factors", "cols", "zero"],
  gatherRow: GATHER_ROW,
  /** `v` follows `k`: a thread takes either. */
  storeKv: ["k", "v", "pages", "offset", "dtype", "nKvHeads", "headDim", "position", "nTokens"],
  rotate: ["x", "cos", "sin", "headDim", "nHeads", "position", "nTokens", "dims", "neighbours"],
  /** `window` 0: none. */
  attention: [
    ...["out", "q", "pages", "offset", "dtype", "nKvHeads", "headDim", "nHeads", "scale", "slopes", "position"],
    ...["headBegin", "window", "sinks"],
  ],
  selectAbove: ["out", "scores", "n", "threshold"],
  groupVectors: ["scratch", "x", "cols"],
  "linear-q4_0": LINEAR_OF_BLOCKS,
  "linear-q8_0": LINEAR_OF_BLOCKS,
  "linear-q4_k": LINEAR_OF_BLOCKS,
  "linear-q6_k": LINEAR_OF_BLOCKS,
  "gatherRow-q4_0": GATHER_ROW,
  "gatherRow-q8_0": GATHER_ROW,
  "gatherRow-q4_k": GATHER_ROW,
  "gatherRow-q6_k": GATHER_ROW,
} as const;

/** Names of the ops' shaders. */
export type ShaderName = keyof typeof OPERANDS;

/** What a dispatch of a shader is given: every operand by its name, as a word. */
export type Operands<Shader extends ShaderName> = Readonly<Record<(typeof OPERANDS)[Shader][number], number>>;

/** Operands as words, in the order of the table. */
export function operandWords<Shader extends ShaderName>(shader: Shader, operands: Operands<Shader>): number[] {
  const names: readonly string[] = OPERANDS[shader];
  const words = operands as Readonly<Record<string, number>>;
  return names.map((name) => words[name]!);
}

/** WGSL that names the places of a shader's operands: `opRows` of `rows`. */
export function operandConstants(shader: ShaderName): string {
  const names: readonly string[] = OPERANDS[shader];
  return names.map((name, at) => `const op${name[0]!.toUpperCase()}${name.slice(1)} = ${at}u;\n`).join("");
}

/** An operand that shaders read by `fu`. */
export function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}
