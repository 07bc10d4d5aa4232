/** Types of instance.js, which explains them. */
import type { WasmExports } from "../wasm-exports.js";

export interface KernelModules {
  readonly module: WebAssembly.Module;
  /** For activations of eight bits; null: they are not wanted. */
  readonly byteModule: WebAssembly.Module | null;
}

export declare function instanceOver(modules: KernelModules, memory: WebAssembly.Memory): WasmExports;
