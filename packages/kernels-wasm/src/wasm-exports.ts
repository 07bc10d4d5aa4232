/** What the module exports (assembly/index.ts). Pointers and counts are i32 there; JavaScript numbers wrap to the same bits. */

type Ptr = number;

export interface WasmExports {
  reservedBytes(): number;
  linear(
    out: Ptr,
    x: Ptr,
    dtype: number,
    data: Ptr,
    scales: Ptr,
    rows: number,
    cols: number,
    bias: Ptr,
    nTokens: number,
    scratch: Ptr,
    rowBegin: number,
    rowEnd: number,
  ): void;
  /** Pointers of rows, columns and scales are those of slot 0. */
  ffnUp(
    act: Ptr,
    x: Ptr,
    dtype: number,
    upBase: Ptr,
    strideBytes: number,
    scales: Ptr,
    dModel: number,
    bias: Ptr,
    slots: Ptr,
    n: number,
    nTokens: number,
    activation: number,
    threshold: number,
    scratch: Ptr,
    begin: number,
    end: number,
  ): void;
  ffnUpGated(
    act: Ptr,
    x: Ptr,
    dtype: number,
    gateBase: Ptr,
    upBase: Ptr,
    strideBytes: number,
    /** Of the gate rows; those of the up rows are 4 bytes behind them. */
    scales: Ptr,
    dModel: number,
    gateBias: Ptr,
    upBias: Ptr,
    slots: Ptr,
    n: number,
    nTokens: number,
    activation: number,
    threshold: number,
    upRelu: number,
    scratch: Ptr,
    begin: number,
    end: number,
  ): void;
  ffnDown(
    out: Ptr,
    act: Ptr,
    dtype: number,
    downBase: Ptr,
    strideBytes: number,
    scales: Ptr,
    dModel: number,
    slots: Ptr,
    n: number,
    nTokens: number,
    colBegin: number,
    colEnd: number,
  ): void;
  layerNorm(out: Ptr, x: Ptr, weight: Ptr, bias: Ptr, n: number, nTokens: number, epsilon: number): void;
  rmsNorm(out: Ptr, x: Ptr, weight: Ptr, n: number, nTokens: number, epsilon: number): void;
  normHeads(
    x: Ptr,
    kind: number,
    weight: Ptr,
    bias: Ptr,
    epsilon: number,
    nHeads: number,
    headDim: number,
    nTokens: number,
  ): void;
  gate(act: Ptr, gate: Ptr, up: Ptr, count: number, activation: number, threshold: number, upRelu: number): void;
  scale(x: Ptr, count: number, factor: number): void;
  add(out: Ptr, x: Ptr, count: number): void;
  addScaled(out: Ptr, x: Ptr, count: number, factor: number): void;
  copyRows(out: Ptr, x: Ptr, rows: Ptr, n: number, cols: number): void;
  addRowsScaled(out: Ptr, x: Ptr, rows: Ptr, factors: Ptr, n: number, cols: number): void;
  relu(x: Ptr, count: number): void;
  zero(out: Ptr, count: number): void;
  gatherRow(out: Ptr, dtype: number, data: Ptr, scales: Ptr, cols: number, row: number): void;
  storeKv(
    dtype: number,
    pages: Ptr,
    offsetBytes: number,
    nKvHeads: number,
    headDim: number,
    k: Ptr,
    v: Ptr,
    position: number,
    nTokens: number,
  ): void;
  rotate(
    x: Ptr,
    cos: Ptr,
    sin: Ptr,
    headDim: number,
    dims: number,
    neighbours: number,
    nHeads: number,
    position: number,
    nTokens: number,
  ): void;
  attention(
    out: Ptr,
    q: Ptr,
    dtype: number,
    pages: Ptr,
    offsetBytes: number,
    nKvHeads: number,
    headDim: number,
    nHeads: number,
    scale: number,
    slopes: Ptr,
    windowTokens: number,
    sinks: Ptr,
    position: number,
    nTokens: number,
    scratch: Ptr,
    headBegin: number,
    headEnd: number,
  ): void;
  selectAbove(out: Ptr, scores: Ptr, n: number, threshold: number): number;
  crc32c(ptr: Ptr, sizeBytes: number, seed: number): number;
  crc32cSlots(
    out: Ptr,
    base: Ptr,
    strideBytes: number,
    sizeBytes: number,
    slots: Ptr,
    begin: number,
    end: number,
  ): void;
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
  gemmTransposed(c: Ptr, ldc: number, a: Ptr, lda: number, b: Ptr, ldb: number, m: number, n: number, k: number): void;
  decodeF16(dst: Ptr, src: Ptr, count: number): void;
  encodeF16(dst: Ptr, src: Ptr, count: number): void;
  reluGradient(x: Ptr, gate: Ptr, count: number): void;
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
  adamW(
    w: Ptr,
    g: Ptr,
    m: Ptr,
    v: Ptr,
    count: number,
    correction1: number,
    correction2: number,
    lr: number,
    beta1: number,
    beta2: number,
    rest1: number,
    rest2: number,
    epsilon: number,
    decay: number,
  ): void;
  readLoop(ptr: Ptr, sizeBytes: number): number;
}

/** What the module with relaxed SIMD exports (assembly/byte-index.ts). */
export interface ByteExports extends Pick<WasmExports, "linear" | "reservedBytes"> {
  isBlocks(dtype: number): number;
  /** Where its own bytes begin, above the other module's. */
  firstByte(): number;
  dotAt(at: Ptr): void;
  selectAt(at: Ptr): void;
}
