/** What of a matrix that is streamed by rows lies in the stage. */
import type { MatrixName } from "@flashwick/flash-format";
import type { Matrix } from "@flashwick/kernels";

/** Rows of one matrix in the stage: `first` up to `end`. */
export interface StagedRows {
  readonly name: MatrixName;
  readonly first: number;
  readonly end: number;
  /** The whole matrix as if all of it were there. It begins before the stage, or even before the arena: only rows of the range are read. */
  readonly matrix: Matrix;
}
