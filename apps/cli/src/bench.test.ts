import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson } from "./tiny-checkpoint.fixture.js";

const dir = mkdtempSync(join(tmpdir(), "flashwick-bench-"));
const file = join(dir, "file.bin");
writeFileSync(file, new Uint8Array(2 ** 20));
afterAll(() => rmSync(dir, { recursive: true }));

const MACHINE = { cpu: expect.any(String), cores: expect.any(Number), node: process.version };
/** A figure of fio's: null where there is none. */
const figureOrNull = expect.toSatisfy((value: unknown) => value === null || (value as number) > 0);

describe("bench read", () => {
  const read = (path: string, ...argv: string[]) => [
    "bench",
    "read",
    path,
    ...["--sizes", "4", "--depths", "1", "--seconds", "0.02", "--turns", "1"],
    ...argv,
  ];

  it("gives the document of the contract, with or without fio, and each row as it comes", async () => {
    const { status, document, err } = await flashwickJson(read(file));
    expect(status).toBe(0);
    expect(document).toMatchObject({ machine: MACHINE, file, mode: expect.stringMatching(/^(direct|buffered)$/) });
    expect(document.rows).toEqual([
      {
        sizeBytes: 4096,
        depth: 1,
        mode: document.mode,
        bytesPerSec: expect.any(Number),
        fioBytesPerSec: figureOrNull,
        fioEngine: expect.toBeOneOf(["libaio", "psync", null]),
        share: figureOrNull,
      },
    ]);
    const [{ bytesPerSec, fioBytesPerSec, share }] = document.rows;
    const fioDepth = fioBytesPerSec === null ? null : 1;
    expect(document.best).toEqual([{ sizeBytes: 4096, depth: 1, bytesPerSec, fioDepth, fioBytesPerSec, share }]);
    expect(err).toMatch(/^4 KiB x 1: [\d.]+ GB\/s, (fio [\d.]+, \d+ %|no fio)\n$/);
  });
  it("shows a person every row, and the best of each size", async () => {
    const { out, err } = await flashwick(read(file, "--quiet"));
    expect(err).toBe("");
    expect(out).toMatch(/random (direct|buffered) reads, (beside fio|no fio on the path)/);
    expect(out).toMatch(/^KiB +depth +ours GB\/s +fio GB\/s +share\n +4 +1 +[\d.]+ +([\d.]+ +\d+ %|no fio +-)$/m);
    expect(out).toMatch(/^each side at its best depth\nKiB/m);
  });
  it("takes --json and --quiet on either side of its name", async () => {
    const [bench, ...rest] = read(file);
    const { out, err } = await flashwick([bench!, "--json", "--quiet", ...rest]);
    expect([JSON.parse(out).file, err]).toEqual([file, ""]);
  });
  it("stops at Ctrl-C", async () => {
    const interrupt = new AbortController();
    const { status, out } = await flashwick(read(file, "--depths", "1,2"), {
      signal: interrupt.signal,
      onErr: () => interrupt.abort(),
    });
    expect([status, out]).toEqual([130, ""]);
  });
  it.each([
    ["a file that is not there", "none.bin", [], "IO_NOT_FOUND"],
    ["a file smaller than every size", "file.bin", ["--sizes", "2048"], "INPUT_INVALID"],
  ])("refuses %s", async (_, name, argv, code) => {
    const { status, document, err } = await flashwickJson(read(join(dir, name), ...argv));
    expect([status, document.error.code, err]).toEqual([1, code, ""]);
  });
});

describe("bench kernels", () => {
  it("gives the document of the contract, and no hand-off where one thread works", async () => {
    const { status, document, err } = await flashwickJson(["bench", "kernels", "--mib", "1", "--threads", "1"]);
    expect(status).toBe(0);
    expect(document).toMatchObject({ machine: MACHINE, handOffUs: null });
    expect(document.rows.map(({ kernel, dtype }: { kernel: string; dtype: string }) => [kernel, dtype])).toEqual([
      ["read loop", null],
      ["linear", "f32"],
      ["linear", "f16"],
      ["linear", "bf16"],
      ["linear", "int8"],
    ]);
    for (const row of document.rows) expect(row.share).toBeCloseTo(row.gbPerSec / row.ceilingGbPerSec);
    expect(err).toMatch(/^read loop x 1: [\d.]+ GB\/s\nlinear f32 x 1: [\d.]+ GB\/s, \d+ % of the read loop\n/);
  });
});
