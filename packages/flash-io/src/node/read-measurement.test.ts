import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { findFio } from "./fio.js";
import { bestRows, measureReads, type ReadRow } from "./read-measurement.js";

const dir = mkdtempSync(join(tmpdir(), "read-measurement-"));
const path = join(dir, "file.bin");
writeFileSync(path, new Uint8Array(2 ** 20));
afterAll(() => rmSync(dir, { recursive: true }));

describe("measureReads", () => {
  it("gives a row a size and depth, beside fio where there is one, and leaves out sizes beyond the file's", async () => {
    const fio = await findFio();
    const seen: ReadRow[] = [];
    const rows = await measureReads(path, {
      sizes: [4096, 2 ** 22],
      depths: [2],
      secondsEach: 0.1,
      turns: 1,
      onRow: (row) => seen.push(row),
    });
    expect(rows).toEqual(seen);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ sizeBytes: 4096, depth: 2, fioEngine: fio });
    expect(rows[0]!.bytesPerSec).toBeGreaterThan(0);
    if (fio) expect(rows[0]!.share).toBeCloseTo(rows[0]!.bytesPerSec / rows[0]!.fioBytesPerSec!, 9);
    else expect(rows[0]!.share).toBeNull();
  });
});

describe("bestRows", () => {
  it("compares each side at its own best depth", () => {
    const row = (depth: number, bytesPerSec: number, fioBytesPerSec: number | null): ReadRow => ({
      sizeBytes: 4096,
      depth,
      mode: "direct",
      bytesPerSec,
      fioBytesPerSec,
      fioEngine: fioBytesPerSec === null ? null : "libaio",
      share: null,
    });
    expect(bestRows([row(1, 10, 12), row(8, 50, 40), row(16, 45, 60)])).toEqual([
      { sizeBytes: 4096, depth: 8, bytesPerSec: 50, fioDepth: 16, fioBytesPerSec: 60, share: 50 / 60 },
    ]);
    expect(bestRows([row(1, 10, null)])[0]).toMatchObject({ fioDepth: null, fioBytesPerSec: null, share: null });
  });
});
