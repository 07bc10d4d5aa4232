/** What a reader brings, and where to. */
import { type FlashRun, planRuns, type RunPiece } from "../run-plan.js";
import { CONFORMANCE_FILE_BYTES, type ReaderBench, recordRuns, wholeRun } from "./reader-bench.js";
import type { ReaderCase } from "./reader-case.js";
import { expectCode } from "./verdict.js";

/** Runs of all kinds: aligned to 4096, to 512 or not at all, whole or scattered, short or long. They land apart. */
function mixedRuns({ random, memory }: ReaderBench, count: number): FlashRun[] {
  const runs: FlashRun[] = [];
  let ptr = 0;
  for (let i = 0; i < count; i++) {
    const grain = [4096, 512, 1][random.below(3)]!;
    const pieces: RunPiece[] = [];
    ptr = Math.ceil(ptr / grain) * grain;
    for (let n = 1 + random.below(4); n > 0; n--) {
      const sizeBytes = grain * (1 + random.below(Math.ceil(12000 / grain)));
      pieces.unshift({ ptr, sizeBytes });
      ptr += sizeBytes + grain * random.below(2);
    }
    if (ptr > memory.byteLength) break;
    const sizeBytes = pieces.reduce((sum, piece) => sum + piece.sizeBytes, 0);
    const offset = grain * random.below(Math.floor((CONFORMANCE_FILE_BYTES - sizeBytes) / grain));
    runs.push({ offset, sizeBytes, pieces, picks: 0 });
  }
  return runs;
}

/** A run whose bytes are cut into `count` pieces of `pieceBytes`, the last of which lands first in memory. */
function scatteredRun(offset: number, count: number, pieceBytes: number, strideBytes: number): FlashRun {
  const pieces = Array.from({ length: count }, (_, i) => ({
    ptr: (count - 1 - i) * strideBytes,
    sizeBytes: pieceBytes,
  }));
  return { offset, sizeBytes: count * pieceBytes, pieces, picks: count };
}

async function expectLands(bench: ReaderBench, runs: readonly FlashRun[]): Promise<void> {
  await bench.read(runs);
  bench.expectLanded(runs);
}

export const landingCases: readonly ReaderCase[] = [
  {
    title: "lands runs of all kinds, batch after batch",
    async run(bench) {
      for (let batch = 0; batch < 4; batch++) {
        bench.memory.fill(0);
        await expectLands(bench, mixedRuns(bench, 40));
      }
    },
  },
  {
    title: "lands scattered pieces, aligned and not, in any order of memory",
    async run(bench) {
      await expectLands(bench, [scatteredRun(8192, 5, 4096, 8192)]);
      await expectLands(bench, [scatteredRun(511, 7, 100, 333)]);
    },
  },
  {
    title: "lands a run of more pieces than one vectored read takes",
    run: (bench) => expectLands(bench, [scatteredRun(4096, 3000, 160, 170)]),
  },
  {
    title: "reads the gaps between records aside, over each other",
    async run(bench) {
      const places = { fileOffset: 1536, strideBytes: 512, slotBase: 4096, slotBytes: 512 };
      const neurons = Uint32Array.of(3, 4, 7, 9, 30);
      const slots = Uint32Array.of(8, 2, 5, 6, 0);
      const limits = { maxReadBytes: 65536, maxGapBytes: 1024, gapPtr: 0 };
      await bench.read(planRuns(places, neurons, slots, Uint32Array.of(0, 1, 2, 3, 4), limits));
      bench.expectLanded(
        Array.from(neurons, (neuron, i) => wholeRun(1536 + neuron * 512, 512, 4096 + slots[i]! * 512)),
      );
    },
  },
  {
    title: "lands unaligned offsets, sizes and pointers, and writes no byte beside them",
    async run(bench) {
      const runs = [
        wholeRun(1, 1, 3),
        wholeRun(511, 2, 4097),
        wholeRun(4095, 70_001, 8193),
        wholeRun(70_000, 513, 100_001),
      ];
      await expectLands(bench, runs);
      for (const { pieces } of runs) {
        const { ptr, sizeBytes } = pieces[0]!;
        bench.memory.fill(0, ptr, ptr + sizeBytes);
      }
      bench.expectUntouched();
    },
  },
  {
    title: "reads up to the last byte of a file that ends anywhere",
    run: (bench) =>
      expectLands(bench, [
        wholeRun(CONFORMANCE_FILE_BYTES - 777, 777, 512),
        wholeRun(CONFORMANCE_FILE_BYTES - 777 - 65536, 65536 + 777, 65536),
        wholeRun(CONFORMANCE_FILE_BYTES - 5, 5, 3),
      ]),
  },
  {
    title: "reads into a view that does not begin where its memory does",
    async run(bench) {
      const view = bench.memory.subarray(4096);
      const runs = recordRuns(8);
      bench.reader.start(view, runs);
      await bench.reader.wait();
      bench.expectLanded(runs, view);
    },
  },
  {
    title: "takes a batch of no runs",
    async run(bench) {
      await bench.read([]);
      await bench.reader.waitFor([]);
      await bench.expectUsable();
    },
  },
  {
    title: "reads into another memory after one was released, and into the same one again",
    async run(bench) {
      await bench.expectUsable();
      bench.reader.release(bench.memory);
      const other = bench.allocate();
      const runs = recordRuns(8);
      bench.reader.start(other, runs);
      await bench.reader.wait();
      bench.expectLanded(runs, other);
      bench.reader.release(other);
      bench.reader.release(other);
      bench.memory.fill(0);
      await bench.expectUsable();
    },
  },
  {
    title: "refuses memory that is not shared, where it needs shared memory",
    async run(bench) {
      if (!bench.reader.needsSharedMemory) return;
      await expectCode("start", () => bench.reader.start(new Uint8Array(8192), recordRuns(1)), "INPUT_INVALID");
    },
  },
];
