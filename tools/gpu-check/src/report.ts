/** What a run of the check found: the JSON document of `--json`. Adding fields is free; renaming one changes `version`. */
import type { DType } from "@flashwick/core";
import type { CaseResult } from "@flashwick/kernels-webgpu/conformance";

export const REPORT_VERSION = 1;

export interface GpuReport {
  readonly tool: "gpu-check";
  readonly version: typeof REPORT_VERSION;
  readonly machine: MachineFacts;
  readonly device: DeviceFacts;
  readonly conformance: ConformanceReport;
  readonly bandwidth: DeviceBandwidth;
  readonly kernels: readonly KernelRate[];
  readonly models: readonly ModelRate[];
  /** Every conformance case and every model is as it must be. */
  readonly passed: boolean;
}

export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly node: string;
  readonly kernel: string;
}

export interface DeviceFacts {
  readonly adapter: string;
  /** Whether sums are taken over subgroups. */
  readonly subgroups: boolean;
  /** Largest arena that has a mirror. */
  readonly maxArenaBytes: number;
}

export interface ConformanceReport {
  readonly cases: number;
  readonly failures: readonly CaseResult[];
}

/** Of a buffer as large as the weights of the kernels, the best of several passes; 10^9 bytes a second. */
export interface DeviceBandwidth {
  readonly sizeBytes: number;
  /** A shader that reads every word. */
  readonly readGbPerSec: number;
  /** A copy from buffer to buffer: bytes read and bytes written. */
  readonly copyGbPerSec: number;
}

export interface KernelRate {
  readonly kernel: "linear";
  readonly dtype: DType;
  /** Rows and columns of the matrix. */
  readonly shape: readonly [number, number];
  /** Vectors that it is multiplied with in one call. */
  readonly vectors: number;
  /** One call, the best of several series. */
  readonly ms: number;
  /** Bytes of weights, counted once a call, 10^9 a second. */
  readonly gbPerSec: number;
  /** Multiply-adds, 10^9 a second. */
  readonly gmacPerSec: number;
  /** `gbPerSec` beside {@link DeviceBandwidth.readGbPerSec} of the same run. */
  readonly shareOfRead: number;
}

export interface ModelRate {
  readonly name: string;
  /** Everything resident, or streamed: half way from the least memory that works to all of it. */
  readonly memory: "resident" | "streamed";
  /** Types of its matrices. */
  readonly dtypes: readonly DType[];
  readonly fileBytes: number;
  /** Decoding greedily, the second of two runs. WebAssembly computes on one thread. */
  readonly webgpuTokensPerSec: number;
  readonly wasmTokensPerSec: number;
  /** Tokens that both say before they differ for the first time, of `tokens`. */
  readonly sameTokens: number;
  readonly tokens: number;
  /** Of logits and their log-sum-exp over a fixed sequence, WebGPU's from WebAssembly's; must be at most `bound`. */
  readonly largestLogitDifference: number;
  readonly bound: number;
  /** Streamed: whether WebGPU's logits are bit for bit those of everything resident. Null: resident. */
  readonly sameBitsAsResident: boolean | null;
}
