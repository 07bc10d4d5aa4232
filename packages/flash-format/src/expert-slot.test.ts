/** Where the matrices of an expert lie in its slot, and what is read for them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pieceRoomBytes, planExpertSlot } from "./expert-slot.js";
import type { ExpertMatrix, ExpertTensors } from "./model-file.js";

const ROLES = ["gate", "up", "down"] as const;
const TAIL_BYTES = 64;

function matrixAt(i: number, offset: number, sizeBytes: number, strideBytes = sizeBytes): ExpertMatrix {
  return { role: ROLES[i]!, tensor: `t${i}`, dtype: "q8_0", rows: 1, cols: 32, offset, sizeBytes, strideBytes };
}

/** Three tensors of all experts, as llama.cpp has them. */
function stacked(count: number, begin: number, sizes: readonly number[]): ExpertTensors {
  let next = begin;
  const matrices = sizes.map((sizeBytes, i) => {
    const offset = next;
    next += count * sizeBytes;
    return matrixAt(i, offset, sizeBytes);
  });
  return { count, matrices, recordChecks: null };
}

describe("an expert's slot", () => {
  it("has a room for each of three slices, from a multiple of 512 on", () => {
    const { sizeBytes, pieces, matrices } = planExpertSlot(stacked(8, 1000, [1024, 1024, 1088]));
    expect(pieces).toEqual([
      { offset: 1000, strideBytes: 1024, sizeBytes: 1024, slotOffset: 0 },
      { offset: 1000 + 8 * 1024, strideBytes: 1024, sizeBytes: 1024, slotOffset: 2048 },
      { offset: 1000 + 16 * 1024, strideBytes: 1088, sizeBytes: 1088, slotOffset: 4096 },
    ]);
    expect(matrices).toEqual(ROLES.map((role, piece) => ({ role, piece, offsetInPiece: 0 })));
    expect(sizeBytes).toBe(4096 + 2048);
  });
  it("of a record is one piece, with what pads it where that is checked", () => {
    const matrices = [
      matrixAt(0, 4096, 600, 2048),
      matrixAt(1, 4096 + 640, 600, 2048),
      matrixAt(2, 4096 + 1280, 700, 2048),
    ];
    const bare = planExpertSlot({ count: 4, matrices, recordChecks: null });
    expect(bare.pieces).toEqual([{ offset: 4096, strideBytes: 2048, sizeBytes: 1980, slotOffset: 0 }]);
    expect(bare.matrices.map(({ offsetInPiece }) => offsetInPiece)).toEqual([0, 640, 1280]);
    const checked = planExpertSlot({ count: 4, matrices, recordChecks: { crcOffset: 0, crcOfCrcs: 0 } });
    expect(checked.pieces[0]!.sizeBytes).toBe(2048);
  });
  it("of one expert alone still reads three tensors, though they lie behind each other", () => {
    expect(planExpertSlot(stacked(1, 0, [512, 512, 512])).pieces).toHaveLength(3);
  });
  it("finds the record whichever of its matrices is first in the file", () => {
    const matrices = [matrixAt(0, 2000, 500, 2048), matrixAt(1, 1500, 500, 2048), matrixAt(2, 1000, 500, 2048)];
    const { pieces, matrices: placed } = planExpertSlot({ count: 2, matrices, recordChecks: null });
    expect(pieces).toEqual([{ offset: 1000, strideBytes: 2048, sizeBytes: 1500, slotOffset: 0 }]);
    expect(placed.map(({ role, offsetInPiece }) => [role, offsetInPiece])).toEqual([
      ["gate", 1000],
      ["up", 500],
      ["down", 0],
    ]);
  });

  it("holds every expert's sectors and tails apart, wherever the tensors begin", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 2, maxLength: 3 });
    const places = fc.record({ count: fc.integer({ min: 1, max: 9 }), begin: fc.nat(9000), sizes });
    fc.assert(
      fc.property(places, fc.nat(8), ({ count, begin, sizes }, nth) => {
        const expert = nth % count;
        const slot = planExpertSlot(stacked(count, begin, sizes));
        let used = 0;
        for (const { offset, strideBytes, sizeBytes, slotOffset } of slot.pieces) {
          expect(slotOffset % 512).toBe(0);
          expect(slotOffset).toBeGreaterThanOrEqual(used);
          const phase = (offset + expert * strideBytes) % 512;
          const sectors = Math.ceil((phase + sizeBytes) / 512) * 512;
          used = slotOffset + Math.max(phase + sizeBytes + TAIL_BYTES, sectors);
          expect(used).toBeLessThanOrEqual(slotOffset + pieceRoomBytes(sizeBytes));
        }
        expect(used).toBeLessThanOrEqual(slot.sizeBytes);
        expect(slot.sizeBytes % 512).toBe(0);
      }),
    );
  });
});
