import { isFlashwickError } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { autoStrideBytes, expectedPages, weightLayout } from "./record-layout.js";

/** Average over enough records for any period, counting page by page. */
function countedPages(strideBytes: number): number {
  let pages = 0;
  for (let i = 0; i < 4096; i++) {
    const first = Math.floor((i * strideBytes) / 4096);
    const last = Math.floor(((i + 1) * strideBytes - 1) / 4096);
    pages += last - first + 1;
  }
  return pages / 4096;
}

describe("stride rule", () => {
  it("expects as many pages as a count over 4096 records finds", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 80 }), (units) => {
        expect(expectedPages(units * 512)).toBe(countedPages(units * 512));
      }),
    );
  });

  it.each([
    // record bytes, stride, why
    [16384, 16384, "OPT 6.7B, f16: whole pages"],
    [8200, 8704, "OPT 6.7B, int8: three pages either way, so packed"],
    [18176, 18432, "Falcon 7B, f16: five pages either way, so packed"],
    [3072, 4096, "OPT 125M, f16: 1.5 pages packed, 1 padded"],
    [10248, 12288, "OPT 13B, int8: 3.5 pages packed, 3 padded"],
    [1024, 1024, "opt-demo, f16: four to a page"],
    [520, 1024, "opt-demo, int8"],
    [1, 512, "the least"],
  ])("%i bytes stand %i apart (%s)", (recordBytes, strideBytes) => {
    expect(autoStrideBytes(recordBytes)).toBe(strideBytes);
  });

  it("holds the record, is a multiple of 512, and never costs more pages than packing or padding", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), (recordBytes) => {
        const stride = autoStrideBytes(recordBytes);
        const padded = Math.ceil(recordBytes / 4096) * 4096;
        const packed = Math.ceil(recordBytes / 512) * 512;
        expect(stride).toBeGreaterThanOrEqual(recordBytes);
        expect(stride % 512).toBe(0);
        expect([packed, padded]).toContain(stride);
        expect(expectedPages(stride)).toBe(Math.min(expectedPages(packed), expectedPages(padded)));
      }),
    );
  });
});

describe("weightLayout", () => {
  it("puts rows of 16-element groups side by side, and int8 scales after them", () => {
    expect(weightLayout({ dModel: 20, gated: false }, "int8", "bundled")).toEqual({
      dtype: "int8",
      layout: "bundled",
      strideBytes: 512,
      parts: [
        { role: "up", offsetBytes: 0, scaleOffsetBytes: 64 },
        { role: "down", offsetBytes: 32, scaleOffsetBytes: 68 },
      ],
      slotBytes: 512,
    });
    expect(weightLayout({ dModel: 4096, gated: false }, "f16", "bundled")).toMatchObject({
      strideBytes: 16384,
      parts: [
        { role: "up", offsetBytes: 0, scaleOffsetBytes: null },
        { role: "down", offsetBytes: 8192, scaleOffsetBytes: null },
      ],
    });
  });

  it("puts the gate of a gated neuron and its scale in front", () => {
    expect(weightLayout({ dModel: 512, gated: true }, "int8", "bundled")).toEqual({
      dtype: "int8",
      layout: "bundled",
      strideBytes: 2048,
      parts: [
        { role: "gate", offsetBytes: 0, scaleOffsetBytes: 1536 },
        { role: "up", offsetBytes: 512, scaleOffsetBytes: 1540 },
        { role: "down", offsetBytes: 1024, scaleOffsetBytes: 1544 },
      ],
      slotBytes: 2048,
    });
    expect(() => weightLayout({ dModel: 512, gated: true }, "f16", "split")).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED_FEATURE" }),
    );
  });

  it("gives a split slot two halves, with both scales in the second", () => {
    expect(weightLayout({ dModel: 512, gated: false }, "int8", "split")).toEqual({
      dtype: "int8",
      layout: "split",
      strideBytes: 1024,
      parts: [
        { role: "up", offsetBytes: 0, scaleOffsetBytes: 1536 },
        { role: "down", offsetBytes: 1024, scaleOffsetBytes: 1540 },
      ],
      slotBytes: 2048,
    });
  });

  it.each([0, 512, 1000, 1536.5, Number.NaN, -1024])("refuses a stride of %d for 1024 bytes", (stride) => {
    try {
      weightLayout({ dModel: 256, gated: false }, "f16", "bundled", stride);
      expect.unreachable();
    } catch (error) {
      expect(isFlashwickError(error) && error.code).toBe("INPUT_INVALID");
      expect((error as Error).message).toContain("at least 1024");
    }
  });
});
