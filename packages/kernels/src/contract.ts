/**
 * The op contract: what every kernel backend computes, and in which order it adds.
 *
 * All operands live in one arena (arena.ts) and are named by pointers, byte offsets into it, so that flash reads land
 * where a kernel will read. An op never allocates. Ranges (`rowBegin`, `rowEnd`, …) exist so that threads can split the
 * output of an op; no op ever splits a sum.
 *
 * Vectors. An activation vector of n elements is f32 and occupies `paddedLength(n)` (a multiple of 16) elements; the
 * elements beyond n are zero. Every op reads whole groups and leaves zeros beyond n in what it writes (the call whose
 * range includes the last row or column does it). A batch of vectors is `[nTokens, paddedLength(n)]`, without gaps.
 *
 * Matrices are row-major without gaps, as they lie in the model file, and `tailBytes` (64) of zeros follow each, so that
 * a kernel may read the last row in whole groups: what it reads beyond a row meets a zero of x. Weights are finite.
 *
 * Order of summation. For each dtype and backend, one output element is a fixed sequence of f32 operations that depends
 * on the row and the vector alone: not on `nTokens`, ranges, `n`, or neighbours. So a batch equals its vectors one by
 * one, bit for bit (design, invariant 1). Multiplication and addition are separate roundings (no FMA).
 *
 * Blocks (core's `BlockDType`). Element i of a block is D·w_i − N·m_i with f32 scales D and N and integers |w| ≤ 4096, 0 ≤ m ≤ 63 (N = 0
 * where a type has no minima; reference/block-format.ts reads the bytes). x becomes integers in groups of 32: s = fl(max|x| / 16383),
 * q = fl(x / s) to the nearest integer, ties to even, within ±16383. Then, on every backend, bit for bit:
 *
 *   A = Σ s_g · fl(Σ w_i · q_i)       over the groups g of the block, ascending; the inner sum is exact and below 2^31
 *   B = Σ m_j · fl(s · Σ q_i)         over the block's minima, ascending, each with its 32 elements (16 in Q2_K)
 *   out = Σ fl(fl(D · A) − fl(N · B)) over the blocks of the row, ascending
 *
 * in f32, products and sums rounded separately, from +0. An element of x is off by at most half a step: max|x| of its group / 32766.
 *
 * Activations of eight bits are a mode of whole backends, which is asked for by name: `linear` puts 127 in the place of 16383, so that an element of x is
 * off by max|x| / 254, and processors multiply bytes. Everything else stays; rows of `q4` records keep their 15 bits.
 *
 * Signed zeros: a sum never starts from -0, so adding ±0 terms changes no bit; this is what makes skipping a neuron
 * whose activation is zero exact (invariant 2).
 */
import type { ActivationFunction, DType, RecordDType } from "@flashwick/core";
import type { Arena, Ptr } from "./arena.js";

/** Zero bytes that follow every matrix and every slot area in an arena. */
export const TAIL_BYTES = 64;

/** A weight matrix `[rows, cols]`, row-major. */
export interface Matrix {
  readonly dtype: DType;
  /**
   * Where row 0 begins, or would begin: of a matrix that is there in part, only the rows of an op's range are read, and this may lie anywhere, even
   * below 0. Blocks stand as in a GGUF file, at any multiple of 2, those of MXFP4, which have 17 bytes, at any address; `cols` is a multiple of
   * their elements. So a matrix may be a slice of a larger one, as an expert's is of a tensor of all experts: other rows in place of the zeros behind it.
   */
  readonly data: Ptr;
  /** f32 `[rows]`, int8 only; 0 otherwise. */
  readonly scales: Ptr;
  readonly rows: number;
  readonly cols: number;
}

/** The slots of one layer: neuron records as they came from flash, `strideBytes` apart. Rows of `q4` are Q4_0's blocks, multiplied like those of a matrix. */
export interface SlotMatrix {
  readonly dtype: RecordDType;
  readonly base: Ptr;
  /** From one slot to the next. Rows and the down column begin at their offsets in a slot, each zero-padded to 16 elements. */
  readonly strideBytes: number;
  readonly upOffsetBytes: number;
  readonly downOffsetBytes: number;
  /** Offset of the f32 scales in a slot: up, down, or where the slot has a gate row its own in front of them; int8 only; 0 otherwise. */
  readonly scalesOffsetBytes: number;
  /** `q4`: a multiple of 32. */
  readonly dModel: number;
  /** Up-projection bias of each slot, f32 `[slots]`; 0 for none. */
  readonly bias: Ptr;
  /** Of gated neurons; `given` where their gates' sums are computed elsewhere, and slots have no gate rows. Null for the others. */
  readonly gate: NeuronGate | "given" | null;
}

/** The gate of each neuron: a row like the up row, with which it shares dtype, width and input. */
export interface NeuronGate {
  /** Gate row in a slot. */
  readonly offsetBytes: number;
  /** Bias of each slot's gate, f32 `[slots]`; 0 for none. */
  readonly bias: Ptr;
}

/** The gate rows of slots that have any. */
export function gateRowOf({ gate }: Pick<SlotMatrix, "gate">): NeuronGate | null {
  return gate === "given" ? null : gate;
}

/** How a head of queries or keys is normed: as `layerNorm`, or as `rmsNorm`, over the head alone. */
export interface HeadNorm {
  readonly kind: "layer" | "rms";
  /** f32 `[headDim]`, the same for every head; 0 for none. */
  readonly weight: Ptr;
  /** The same; `layer` only. */
  readonly bias: Ptr;
  readonly epsilon: number;
}

/** Types that keys and values may be stored in. */
export type KvDType = "f32" | "f16" | "int8";

/**
 * Keys and values of one layer and one sequence, in pages of `KV_PAGE_TOKENS` positions anywhere in the arena: position p lies in page `p >> 4` at row
 * `p & 15`. Core's `kvPartBytes` says how a layer's part of a page is laid out, and how many bytes it has. Sequences may share pages that none of them
 * stores into.
 *
 * int8: q = round(x / scale), scale = max|x| / 127 for each head and position.
 */
export interface KvCache {
  readonly dtype: KvDType;
  /** u32 `[pages]`: the arena address at which each page begins, a multiple of 16. */
  readonly pages: Ptr;
  /** Where this layer's part begins in every page; a multiple of 16. */
  readonly offsetBytes: number;
  readonly nKvHeads: number;
  readonly headDim: number;
}

/** What attention depends on beside its keys and values. */
export interface AttentionShape {
  readonly nHeads: number;
  /** Factor on q·k, normally 1/sqrt(headDim). */
  readonly scale: number;
  /** ALiBi slopes, f32 `[nHeads]`; 0 or absent for none. */
  readonly slopes?: Ptr;
  /** Sliding window: a query sees so many keys, its own among them, at least 1; null or absent: every key up to its own. */
  readonly windowTokens?: number | null;
  /** Attention sinks, f32 `[nHeads]`: a score of each head, not scaled, that takes its share of the softmax and has no value; 0 or absent for none. */
  readonly sinks?: Ptr;
}

/** Cosines and sines of the angles position · frequency, f32 `[capacityTokens, dims / 2]` each. */
export interface RotaryTables {
  readonly cos: Ptr;
  readonly sin: Ptr;
  readonly headDim: number;
  /** Elements of a head that are turned, the first ones; even, at most `headDim`. */
  readonly dims: number;
  /** What is turned by frequency d: elements d and d + dims/2 ("rotate half"), or neighbours, 2d and 2d + 1 (llama.cpp's `llama`). */
  readonly pairs: "halves" | "neighbours";
}

/**
 * Where host and device memory meet. A backend on the host's own memory has nothing to do here ({@link ONE_MEMORY}); a device works on a mirror of
 * the arena, and whoever writes what an op will read, or reads what an op wrote, says so. Ranges are widened to whole words of 4 bytes.
 */
export interface MemoryLink {
  /** True: ops work on a mirror, and host and mirror differ until bytes are brought across. */
  readonly mirrored: boolean;
  /** Brings host bytes to the mirror, after all ops so far and before those that follow. */
  put(ptr: Ptr, sizeBytes: number): void;
  /**
   * Brings mirror bytes to the host, after all ops so far. A promise only where there is a mirror, so that loops over host memory never wait.
   *
   * @throws {DeviceLostError} if the device is gone, or refused an op: here, and not at the op.
   */
  take(ptr: Ptr, sizeBytes: number): void | Promise<void>;
  /** Begins what has only been recorded so far: before the host waits for something else. */
  submit(): void;
}

/** Ops and host share their memory. */
export const ONE_MEMORY = {
  mirrored: false,
  /** Nothing to bring across. */
  put() {},
  /** The same. */
  take() {},
  /** Ops are done when they return. */
  submit() {},
} as const;

/** How much scratch ops need. A backend knows before it has an arena: that is how memory is planned. Scratch is 16-byte aligned. */
export interface ScratchSizes {
  /** Scratch that `linear`, and `ffnUp` without a gate, need for `nTokens` vectors of `cols` elements, bytes. Grows with either argument. */
  scratchBytes(cols: number, nTokens: number): number;
  /** Scratch that `ffnUp` needs for gated neurons; at least {@link scratchBytes}. Grows with either argument. */
  gatedScratchBytes(cols: number, nTokens: number): number;
  /** Scratch that `attention` needs over at most `capacityTokens` positions, bytes: the scores of one head. */
  attentionScratchBytes(capacityTokens: number): number;
}

/** The ops of running a model. */
export interface Kernels extends MemoryLink, ScratchSizes {
  readonly backend: "reference" | "wasm" | "webgpu";
  readonly arena: Arena;

  /**
   * out[t, r] = Σ_k w[r, k] · x[t, k] + bias[r], for r in [rowBegin, rowEnd).
   * int8: x is quantised per vector to 12 bits (|q| ≤ 4095 ≤ 2^31 / (127 · cols/4)), the integer sum is exact.
   *
   * @param out   f32 `[nTokens, pad(w.rows)]`. Must not alias x.
   * @param bias  f32 `[w.rows]`, or 0 for none.
   * @param x     f32 `[nTokens, pad(w.cols)]`.
   * Cost: reads the range's weights once per call for small nTokens; 2 · rows · cols · nTokens FLOP.
   */
  linear(
    out: Ptr,
    x: Ptr,
    w: Matrix,
    bias: Ptr,
    nTokens: number,
    scratch: Ptr,
    rowBegin?: number,
    rowEnd?: number,
  ): void;

  /**
   * Activations of chosen neurons: act[t, i] = f(up[slots[i]] · x[t] + bias[slots[i]]) for i in [begin, end).
   *
   * With a gate: act[t, i] = f(gate[slots[i]] · x[t] + gateBias[slots[i]]) · g(up[slots[i]] · x[t] + bias[slots[i]]), each product of a row as
   * without one, and one rounding for f · g. NaN stays NaN in both. `swiglu-clamped` needs a gate; its f and its g are rounded before their product.
   *
   * Where the gate is `given`, act[t, i] holds gate · x[t] + gateBias of the same neuron before the call, for i in the range, and is used in its place:
   * equal sums give equal bits.
   *
   * @param act   f32 `[nTokens, pad(n)]`.
   * @param slots u32 `[n]`, in ascending neuron order (the order matters to `ffnDown` only).
   */
  ffnUp(
    act: Ptr,
    x: Ptr,
    matrix: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    activation: ActivationFunction,
    scratch: Ptr,
    begin?: number,
    end?: number,
  ): void;

  /**
   * out[t, j] += act[t, i] · down[slots[i], j], i = 0 … n−1 in this order, for j in [colBegin, colEnd) (multiples of 16).
   * Neurons whose activation is zero are skipped: it changes no bit. int8: the factor is fl(act · downScale); q4: in each block fl(act · D).
   * Of a slot only the down column and its scale, the last one, are read: a slot may hold nothing else.
   *
   * @param out f32 `[nTokens, pad(dModel)]`, accumulated into.
   */
  ffnDown(
    out: Ptr,
    act: Ptr,
    matrix: SlotMatrix,
    slots: Ptr,
    n: number,
    nTokens: number,
    colBegin?: number,
    colEnd?: number,
  ): void;

  /** out[t] = (x[t] − mean) / sqrt(var + epsilon) · weight + bias, over n elements; weight and bias f32 or 0. out may be x. */
  layerNorm(out: Ptr, x: Ptr, weight: Ptr, bias: Ptr, n: number, nTokens: number, epsilon: number): void;

  /** out[t] = x[t] / sqrt(mean(x[t]²) + epsilon) · weight over n elements; weight f32 `[n]` or 0. out may be x. */
  rmsNorm(out: Ptr, x: Ptr, weight: Ptr, n: number, nTokens: number, epsilon: number): void;

  /**
   * Norms each head of each vector by itself, in place.
   *
   * @param x f32 `[nTokens, pad(nHeads · headDim)]`.
   */
  normHeads(x: Ptr, norm: HeadNorm, nHeads: number, headDim: number, nTokens: number): void;

  /**
   * act[i] = f(gate[i]) · g(up[i]) for `count` f32 elements (a multiple of 4): what `ffnUp` makes of gated neurons, of products that are there
   * already. Zeros stay zeros. act may be gate or up.
   */
  gate(act: Ptr, gate: Ptr, up: Ptr, count: number, activation: ActivationFunction): void;

  /** x[i] *= factor, an f32, for `count` f32 elements (a multiple of 4). */
  scale(x: Ptr, count: number, factor: number): void;

  /** out[i] += x[i] for `count` f32 elements (a multiple of 4). */
  add(out: Ptr, x: Ptr, count: number): void;

  /** out[i] += factor · x[i], an f32 factor, for `count` f32 elements (a multiple of 4): product and sum are rounded once each. */
  addScaled(out: Ptr, x: Ptr, count: number, factor: number): void;

  /**
   * Rows of a batch together: out[i] = x[rows[i]] for i < n. Bits stay as they are, those of the padding, too.
   *
   * @param out  f32 `[n, pad(cols)]`. Must not overlap x.
   * @param x    f32 vectors of `pad(cols)` elements, without gaps.
   * @param rows u32 `[n]`, of any vectors, in any order, more than once or not.
   */
  copyRows(out: Ptr, x: Ptr, rows: Ptr, n: number, cols: number): void;

  /**
   * The way back of {@link copyRows}: out[rows[i]] += factors[i] · x[i] for i < n, over `cols` elements, product and sum rounded once each. Other
   * vectors and all padding stay as they are.
   *
   * @param out     f32 vectors of `pad(cols)` elements, without gaps. Must not overlap x.
   * @param x       f32 `[n, pad(cols)]`.
   * @param rows    u32 `[n]`, each another.
   * @param factors f32 `[n]`.
   */
  addRowsScaled(out: Ptr, x: Ptr, rows: Ptr, factors: Ptr, n: number, cols: number): void;

  /** x[i] = max(x[i], 0) for `count` f32 elements (a multiple of 4). */
  relu(x: Ptr, count: number): void;

  /** Sets `count` f32 elements to zero. */
  zero(out: Ptr, count: number): void;

  /** out = row `row` of w as f32 `[pad(cols)]`, dequantised. */
  gatherRow(out: Ptr, w: Matrix, row: number): void;

  /** Stores k and v, f32 `[nTokens, pad(nKvHeads · headDim)]`, at `position` … `position + nTokens − 1`; their pages are in the table. */
  storeKv(cache: KvCache, k: Ptr, v: Ptr, position: number, nTokens: number): void;

  /**
   * Rotary position embedding in place, of queries or keys: in each head, pair d (see {@link RotaryTables}) is turned by the angle of
   * position + t and frequency d; elements from `dims` on stay as they are.
   *
   * a' = a · cos − b · sin; b' = b · cos + a · sin, each product and sum rounded once.
   *
   * @param x f32 `[nTokens, pad(nHeads · headDim)]`.
   */
  rotate(x: Ptr, tables: RotaryTables, nHeads: number, position: number, nTokens: number): void;

  /**
   * Causal attention: query t stands at `position + t` and sees keys 0 … position + t, which are already stored; with a window of w, those
   * above position + t − w. Keys and pages before the first query's window may be gone: they are not read.
   * out[t, h] = Σ_j softmax_j(scale · (q[t, h] · k_j + bias_hj)) v_j for heads h in [headBegin, headEnd).
   *
   * bias_hj is 0, or with slopes bf16(slope_h · bf16(j)): ALiBi by the key's position alone, rounded to bfloat16 as the models were trained
   * with it (Hugging Face's Falcon), and scaled with the product.
   *
   * @param out f32 `[nTokens, pad(nHeads · headDim)]`; @param q the same shape.
   */
  attention(
    out: Ptr,
    q: Ptr,
    cache: KvCache,
    shape: AttentionShape,
    position: number,
    nTokens: number,
    scratch: Ptr,
    headBegin?: number,
    headEnd?: number,
  ): void;

  /**
   * Writes the ascending indices i < n with scores[i] > threshold to `out` (u32), for the host, and returns how many. NaN is never above.
   * A promise only where there is a mirror.
   */
  selectAbove(out: Ptr, scores: Ptr, n: number, threshold: number): number | Promise<number>;

  /** Of host memory, on any backend: CRC-32C (Castagnoli) of `sizeBytes` bytes at `ptr`, continuing from `seed` (0 at first). */
  crc32c(ptr: Ptr, sizeBytes: number, seed?: number): number;

  /**
   * Of host memory, on any backend: out[i] = CRC-32C of the `sizeBytes` bytes at `base + slots[i] · strideBytes`, for i in [begin, end).
   *
   * @param out   u32 `[n]`. Must not overlap the bytes.
   * @param slots u32 `[n]`.
   */
  crc32cSlots(
    out: Ptr,
    base: Ptr,
    strideBytes: number,
    sizeBytes: number,
    slots: Ptr,
    n: number,
    begin?: number,
    end?: number,
  ): void;
}

/** Kernels on host memory: nothing waits. */
export interface HostKernels extends Kernels {
  readonly mirrored: false;
  take(ptr: Ptr, sizeBytes: number): void;
  selectAbove(out: Ptr, scores: Ptr, n: number, threshold: number): number;
}

/** Ops of predictor training, all f32; matrices here are row-major with explicit row lengths (multiples of 4) in elements. */
export interface TrainingKernels extends HostKernels {
  /**
   * c[i, j] += Σ_k a(i, k) · b[k, j], with a(i, k) at `a + 4·(i·aRowStride + k·aColStride)`: with strides (lda, 1) it is
   * C += A·B, with (1, lda) it is C += Aᵀ·B.
   *
   * @param c f32 `[m, ldc]`, j < n; n, ldb, ldc multiples of 4.
   */
  gemm(
    c: Ptr,
    ldc: number,
    a: Ptr,
    aRowStride: number,
    aColStride: number,
    b: Ptr,
    ldb: number,
    m: number,
    n: number,
    k: number,
  ): void;

  /** c[i, j] = Σ_k a[i, k] · b[j, k] (A·Bᵀ): the forward pass. Row lengths lda, ldb, ldc in elements; k a multiple of 4. */
  gemmTransposed(c: Ptr, ldc: number, a: Ptr, lda: number, b: Ptr, ldb: number, m: number, n: number, k: number): void;

  /** dst f32 [count] = src f16 [count]; count a multiple of 4. Finite values. */
  decodeF16(dst: Ptr, src: Ptr, count: number): void;
  /** dst f16 [count] = src f32 [count], nearest even; count a multiple of 4. |x| < 65504. */
  encodeF16(dst: Ptr, src: Ptr, count: number): void;

  /** x[i] where gate[i] > 0, else 0: the gradient of relu. `count` a multiple of 4. */
  reluGradient(x: Ptr, gate: Ptr, count: number): void;

  /**
   * Weighted binary cross-entropy on logits, in place: z becomes scale · dLoss/dz, weight · (sigmoid(z) − y), with
   * y = 1 and weight `positiveWeight` where the bit is set, else 0 and `negativeWeight`. Returns the summed loss.
   *
   * @param z      f32 `[m, ldz]`, columns j < n used.
   * @param labels one bit per column, row i at `labels + i·labelStrideBytes`, bit j at byte j>>3, bit j&7.
   */
  crossEntropyGradient(
    z: Ptr,
    ldz: number,
    labels: Ptr,
    labelStrideBytes: number,
    m: number,
    n: number,
    positiveWeight: number,
    negativeWeight: number,
    scale: number,
  ): number;

  /**
   * One AdamW step (decoupled weight decay) over `count` parameters (multiple of 4):
   * m = β1·m + (1−β1)·g; v = β2·v + (1−β2)·g²; w −= lr·( (m/c1) / (sqrt(v/c2) + ε) + decay·w ), c_i = 1 − β_i^step; g is zeroed.
   */
  adamW(
    w: Ptr,
    g: Ptr,
    m: Ptr,
    v: Ptr,
    count: number,
    step: number,
    lr: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    decay: number,
  ): void;
}

/**
 * Makes the kernels of an arena, and says without making any what scratch they need. How the trainer receives a backend, and, where any will do that
 * runs a model, the runtime. {@link kernelFactory} makes one.
 */
export interface KernelFactory<K extends Kernels = TrainingKernels> extends ScratchSizes {
  (arena: Arena): K;
}

/** Scratch of a backend that needs none. */
export const NO_SCRATCH: ScratchSizes = {
  scratchBytes: () => 0,
  gatedScratchBytes: () => 0,
  attentionScratchBytes: () => 0,
};

/** A factory of `create`'s kernels, whose scratch has the sizes of `sizes`. */
export function kernelFactory<K extends Kernels>(
  create: (arena: Arena) => K,
  { scratchBytes, gatedScratchBytes, attentionScratchBytes }: ScratchSizes,
): KernelFactory<K> {
  const sizes = { scratchBytes, gatedScratchBytes, attentionScratchBytes };
  return Object.assign((arena: Arena) => create(arena), sizes);
}
