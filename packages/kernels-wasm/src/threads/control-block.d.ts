/** Types of control-block.js, which explains them. */
import type { WasmExports } from "../wasm-exports.js";

export interface ControlBlock {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly order: Float64Array<SharedArrayBuffer>;
  readonly text: Uint8Array<SharedArrayBuffer>;
}

export declare const TICKET: number;
export declare const MESSAGES: number;
export declare const SLEEPERS: number;
export declare const FAILED: number;
export declare const FAILURE_BYTES: number;
export declare const DONE: number;
export declare const CALLER_WAITS: number;
export declare const LEFT_BITS: number;
export declare const MOST_CHUNKS: number;
export declare const ORDER_OP: number;
export declare const ORDER_ARENA: number;
export declare const ORDER_BEGIN: number;
export declare const ORDER_END: number;
export declare const ORDER_CHUNK: number;
export declare const ORDER_CHUNKS: number;
export declare const ORDER_SCRATCH: number;
export declare const ORDER_SCRATCH_STRIDE: number;
export declare const ARGUMENTS: number;
export declare const LINEAR: number;
export declare const FFN_UP: number;
export declare const FFN_DOWN: number;
export declare const ATTENTION: number;
export declare const CRC32C_SLOTS: number;
export declare const READ_LOOP: number;
export declare const FFN_UP_GATED: number;
export declare const GATE: number;
export declare const CONTROL_BYTES: number;
export declare function viewControl(buffer: SharedArrayBuffer): ControlBlock;
export declare function chunksLeft(ticket: number): number;
export declare function takeChunk(words: Int32Array, ticket: number): boolean;
export declare function runChunk(order: Float64Array, wasm: WasmExports, thread: number, left: number): void;
