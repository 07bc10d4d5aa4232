/** One arena with the kernels and buffers that work in it. */
import type { Arena, Kernels, Ptr } from "@flashwick/kernels";
import type { StreamStage } from "./layer-stream.js";
import type { Stage } from "./layer-studies.js";
import type { Workspace } from "./workspace.js";

export interface ArenaContext {
  readonly index: number;
  readonly arena: Arena;
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  /** Where the oracle looks at whole layers aside of the cache; empty in other modes. */
  readonly stage: Stage;
  /** Slot 0 of the arena's first layer. */
  readonly slotBase: Ptr;
  /** What layers are streamed through. */
  readonly stream: StreamStage;
  /** By columns: slot 0 of the inputs of the arena's first layer, and what inputs are streamed through; else null. */
  readonly inputs: { readonly slotBase: Ptr; readonly stream: StreamStage } | null;
  /** Of all sequences, u32 `[sequences, pages of a sequence]`: where the pages of keys and values of this arena's layers begin. */
  readonly pageTables: Ptr;
  /** Where unneeded bytes between two reads land; 0 for nowhere. */
  readonly gapPtr: Ptr;
}
