import { partBegins } from "@flashwick/core";
import type { MatrixTensors, ResidentTensor } from "@flashwick/flash-format";
import { TAIL_BYTES } from "@flashwick/kernels";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layerChunks, leastAreaBytes, type StageReads, stageChunk } from "./staged-rows.js";

const NAMES = ["query", "key", "value", "output", "gate", "up", "down"] as const;

/** Matrices one behind the other, aligned to 32 bytes as in a file of llama.cpp's; f16, so that a row has any even length. */
const layers = fc
  .record({
    sizes: fc.array(fc.record({ rows: fc.integer({ min: 1, max: 300 }), cols: fc.integer({ min: 1, max: 3000 }) }), {
      minLength: 7,
      maxLength: 7,
    }),
    begin: fc.nat(100_000),
  })
  .map(({ sizes, begin }) => {
    let next = begin;
    const tensors = sizes.map(({ rows, cols }, i): [string, ResidentTensor] => {
      const offset = Math.ceil(next / 32) * 32;
      const sizeBytes = rows * cols * 2;
      next = offset + sizeBytes;
      return [NAMES[i]!, { name: NAMES[i]!, dtype: "f16", rows, cols, offset, sizeBytes, crc32c: 0, scales: null }];
    });
    return { tensors: Object.fromEntries(tensors) as unknown as MatrixTensors, fileBytes: next };
  });

const readers = fc.record({ alignmentBytes: fc.constantFrom(1, 512, 4096), readers: fc.integer({ min: 0, max: 32 }) });

describe("stageChunk", () => {
  it("brings every row of a layer once, whole, within the area, and reads nothing beyond the file", () => {
    fc.assert(
      fc.property(layers, readers, fc.nat(400_000), fc.nat(100), (layer, reader, more, at) => {
        const { tensors, fileBytes } = layer;
        const areaBytes = Math.ceil((leastAreaBytes(tensors) + more) / 64) * 64;
        const area = 64 * at;
        const reads: StageReads = { source: { sizeBytes: fileBytes }, reader };
        const found = new Map<string, number>();
        for (const chunk of layerChunks(tensors, areaBytes)) {
          const { parts, runs, sizeBytes } = stageChunk(tensors, chunk, area, reads);
          expect(sizeBytes).toBeLessThanOrEqual(areaBytes);
          let free = area;
          for (const { name, first, end, matrix } of parts) {
            const tensor = tensors[name]!;
            const rowBytes = tensor.sizeBytes / tensor.rows;
            const [begin, stop] = [matrix.data + first * rowBytes, matrix.data + end * rowBytes];
            // Where each byte of the file lands, by the reads that overlap these rows.
            const fileBegin = tensor.offset + first * rowBytes;
            let covered = fileBegin;
            for (const { offset, sizeBytes: length, pieces } of runs) {
              const isHere = pieces[0]!.ptr - offset === begin - fileBegin;
              if (isHere && offset <= covered) covered = Math.max(covered, offset + length);
              if (isHere) expect(pieces[0]!.ptr).toBeGreaterThanOrEqual(free);
            }
            expect(covered).toBeGreaterThanOrEqual(fileBegin + (end - first) * rowBytes);
            free = stop + TAIL_BYTES;
            expect(free).toBeLessThanOrEqual(area + areaBytes);
            expect(first).toBe(found.get(name) ?? 0);
            found.set(name, end);
          }
          for (const { offset, sizeBytes: length, pieces } of runs) {
            expect(offset).toBeGreaterThanOrEqual(0);
            expect(offset + length).toBeLessThanOrEqual(fileBytes);
            expect(pieces[0]!.ptr).toBeGreaterThanOrEqual(area);
            expect(pieces[0]!.ptr + length).toBeLessThanOrEqual(area + areaBytes);
            if (reader.alignmentBytes !== 512) continue;
            expect([offset % 512, pieces[0]!.ptr % 512]).toEqual([0, 0]);
            if (offset + length < fileBytes) expect(length % 512).toBe(0);
          }
        }
        for (const name of NAMES) expect(found.get(name)).toBe(tensors[name]!.rows);
      }),
    );
  });

  it("widens no read beyond the part of a split model that it is in", () => {
    const matrix = (offset: number): ResidentTensor => ({
      ...{ name: "m", dtype: "f16", rows: 3, cols: 100, offset, sizeBytes: 600, crc32c: 0, scales: null },
    });
    const sizes = [1000, 5000];
    const [first, second] = partBegins(sizes);
    const parts = sizes.map((sizeBytes, i) => ({ name: `${i}`, begin: [first!, second!][i]!, sizeBytes }));
    const names = NAMES.filter((name) => name !== "gate");
    // The last matrix of the first part ends with it.
    const offsets = [0, 192, 400, second! + 32, second! + 640, second! + 4400];
    const tensors = Object.fromEntries(names.map((name, i) => [name, matrix(offsets[i]!)])) as unknown as MatrixTensors;
    const areaBytes = leastAreaBytes(tensors);
    const source = { sizeBytes: second! + 5000, parts };
    const reads = { source, reader: { alignmentBytes: 512, readers: 4 } };
    const runs = layerChunks(tensors, areaBytes).flatMap((chunk) => stageChunk(tensors, chunk, 0, reads).runs);
    for (const { offset, sizeBytes } of runs) {
      const part = parts.findLast(({ begin }) => begin <= offset)!;
      expect(offset + sizeBytes).toBeLessThanOrEqual(part.begin + part.sizeBytes);
    }
  });
});
