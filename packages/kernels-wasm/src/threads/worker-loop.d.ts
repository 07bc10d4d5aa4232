/** Types of worker-loop.js, which explains them. */
import type { WasmExports } from "../wasm-exports.js";
import type { ControlBlock } from "./control-block.js";

export declare function workUntilMessage(
  control: ControlBlock,
  instances: ReadonlyMap<number, WasmExports>,
  thread: number,
  received: number,
  spinUs: number,
): void;
export declare function reportFailure(control: ControlBlock, thread: number, error: unknown): void;
