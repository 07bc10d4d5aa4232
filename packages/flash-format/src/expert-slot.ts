/**
 * How an expert lies in a slot of an engine's memory, and which bytes of the file are read for it. Pure.
 *
 * A piece is what one read brings: in our files all matrices of an expert, which are one record; in llama.cpp's each matrix by itself. Pieces stand one
 * behind the other, each from a multiple of 512 on, and each with room for three things: its bytes, the bytes before them in their sector (a read that
 * passes by the page cache begins where a sector does), and those that kernels read past a matrix's end.
 *
 *     | phase | piece 0 …      | tail | … 512 | phase | piece 1 …      | tail | … 512 |
 *
 * The phase is the offset of the piece in the file modulo 512, so it differs from expert to expert; whoever reads the slot adds it.
 */
import type { RecordRole } from "@flashwick/core";
import { TAIL_BYTES } from "@flashwick/kernels";
import type { ExpertMatrix, ExpertTensors } from "./model-file.js";
import { roundUp, STRIDE_UNIT_BYTES as SECTOR_BYTES } from "./record-layout.js";

/** What one read of an expert brings. Expert e's is read from `offset + e * strideBytes`. */
export interface ExpertPiece {
  /** Absolute file offset of expert 0's. */
  readonly offset: number;
  readonly strideBytes: number;
  readonly sizeBytes: number;
  /** Where its room begins in the slot: a multiple of 512. */
  readonly slotOffset: number;
}

/** What is read for an expert, and where in its slot it lands. */
export interface ExpertSlot {
  /** Of the whole slot: a multiple of 512. */
  readonly sizeBytes: number;
  readonly pieces: readonly ExpertPiece[];
  /** As {@link ExpertTensors} has them: gate, up, down. */
  readonly matrices: readonly {
    readonly role: RecordRole;
    /** Index of the piece that it is in. */
    readonly piece: number;
    readonly offsetInPiece: number;
  }[];
}

/** Bytes that a piece takes in a slot, whatever its phase. */
export function pieceRoomBytes(sizeBytes: number): number {
  return roundUp(sizeBytes + SECTOR_BYTES + TAIL_BYTES, SECTOR_BYTES);
}

/** The slot of an expert of one layer. */
export function planExpertSlot({ matrices, recordChecks }: ExpertTensors): ExpertSlot {
  const groups = groupMatrices(matrices);
  const pieces: ExpertPiece[] = [];
  let slotOffset = 0;
  for (const { offset, end, strideBytes } of groups) {
    // A record is checked as a whole, with what pads it.
    const sizeBytes = recordChecks ? strideBytes : end - offset;
    pieces.push({ offset, strideBytes, sizeBytes, slotOffset });
    slotOffset += pieceRoomBytes(sizeBytes);
  }
  const placed = matrices.map((matrix) => {
    const piece = groups.findIndex(({ members }) => members.includes(matrix));
    return { role: matrix.role, piece, offsetInPiece: matrix.offset - groups[piece]!.offset };
  });
  return { sizeBytes: slotOffset, pieces, matrices: placed };
}

interface Group {
  offset: number;
  end: number;
  readonly strideBytes: number;
  readonly members: ExpertMatrix[];
}

/** Matrices of one stride that lie within it are of one record. */
function groupMatrices(matrices: readonly ExpertMatrix[]): Group[] {
  const groups: Group[] = [];
  for (const matrix of matrices) {
    const { strideBytes, offset: begin } = matrix;
    const end = begin + matrix.sizeBytes;
    const record = groups.find(
      (group) =>
        group.strideBytes === strideBytes && Math.max(group.end, end) - Math.min(group.offset, begin) <= strideBytes,
    );
    if (!record) {
      groups.push({ offset: begin, end, strideBytes, members: [matrix] });
      continue;
    }
    record.offset = Math.min(record.offset, begin);
    record.end = Math.max(record.end, end);
    record.members.push(matrix);
  }
  return groups;
}
