/** Types of table-thread.js, which explains them. */
import type { MemoryMessage } from "./reader-threads.js";
import type { TableLayout } from "./table-layout.js";

export declare class Truncated extends Error {
  constructor(endsAt: number);
  readonly endsAt: number;
}

export declare class TableThread {
  constructor(layout: TableLayout, thread: number, received: number);
  readonly layout: TableLayout;
  readonly thread: number;
  readonly received: number;
  readonly memories: (Uint8Array | null)[];
  readonly words: Int32Array;
  readonly offset: Float64Array;
  readonly sizeBytes: Float64Array;
  readonly piecePtr: Float64Array;
  readonly pieceBytes: Float64Array;
  readonly memory: Int32Array;
  readonly firstPiece: Int32Array;
  readonly pieceCount: Int32Array;
  readonly completed: Int32Array;
  readonly pieceMask: number;
  awaitWork(): { readonly what: "read" | "message" | "stop"; readonly bell: number };
  serve(read: (place: number) => void): "message" | "stop";
  readAll(read: (place: number) => void): boolean;
  hasMessage(): boolean;
  receive(message: MemoryMessage): boolean;
  memoryOf(place: number): Uint8Array;
  takeEntry(): number;
  complete(place: number): void;
  fail(place: number, error: unknown): void;
  setBusy(busy: boolean): void;
  sleep(bell: number): void;
}
