/** What has landed when `wait` and `waitFor` return. */
import { recordRuns } from "./reader-bench.js";
import type { ReaderCase } from "./reader-case.js";
import { expectCode, expectEqual } from "./verdict.js";

export const waitingCases: readonly ReaderCase[] = [
  {
    title: "wait: returns with the first n runs in place, for every n in turn",
    async run(bench) {
      const runs = recordRuns(64);
      bench.reader.start(bench.memory, runs);
      for (let n = 0; n <= runs.length; n++) {
        await bench.reader.wait(n);
        bench.expectLanded(runs.slice(0, n));
      }
      await bench.reader.wait();
      await bench.expectUsable();
    },
  },
  {
    title: "wait: counts beyond the batch mean all of it",
    async run(bench) {
      const runs = recordRuns(16);
      bench.reader.start(bench.memory, runs);
      await bench.reader.wait(1000);
      bench.expectLanded(runs);
      await bench.expectUsable();
    },
  },
  {
    title: "waitFor: returns with the named runs in place, in any order, named twice or not at all",
    async run(bench) {
      const runs = recordRuns(64);
      bench.reader.start(bench.memory, runs);
      for (const named of [[], [63], [5, 40, 7], [9, 9], Uint32Array.of(0, 62), [63, 5, 1]]) {
        await bench.reader.waitFor(named);
        bench.expectLanded(Array.from(named, (run) => runs[run]!));
      }
      await bench.reader.wait();
      bench.expectLanded(runs);
    },
  },
  {
    title: "waitFor: with all runs named it ends the batch, and the next may start",
    async run(bench) {
      const runs = recordRuns(32);
      bench.reader.start(bench.memory, runs);
      await bench.reader.waitFor(runs.map((_, i) => runs.length - 1 - i));
      bench.expectLanded(runs);
      await bench.expectUsable();
    },
  },
  {
    title: "waitFor: refuses runs that the batch does not have, and waits for the batch as before",
    async run(bench) {
      const runs = recordRuns(8);
      bench.reader.start(bench.memory, runs);
      for (const named of [[8], [0, -1], [1.5], [Number.NaN]]) {
        await expectCode(`waitFor(${named})`, () => bench.reader.waitFor(named), "INPUT_INVALID");
      }
      await bench.reader.waitFor([7]);
      await bench.reader.wait();
      bench.expectLanded(runs);
    },
  },
  {
    title: "returns at once when nothing is awaited, and when there is no batch",
    needs: "hold",
    async run(bench) {
      await bench.reader.wait();
      const letGo = bench.subject.hold!();
      const runs = recordRuns(8);
      bench.reader.start(bench.memory, runs);
      await bench.reader.wait(0);
      await bench.reader.waitFor([]);
      bench.expectUntouched();
      letGo();
      await bench.reader.wait();
      bench.expectLanded(runs);
    },
  },
  {
    title: "gives a promise while reads are held back, and keeps it when they go on",
    needs: "hold",
    async run(bench) {
      const letGo = bench.subject.hold!();
      const runs = recordRuns(32);
      bench.reader.start(bench.memory, runs);
      const named = bench.reader.waitFor([31, 3]);
      expectEqual("waitFor gives a promise", named instanceof Promise, true);
      letGo();
      await named;
      bench.expectLanded([runs[31]!, runs[3]!]);
      await bench.reader.wait();
      bench.expectLanded(runs);
    },
  },
  {
    title: "refuses a second batch, and releasing, while one is in flight",
    needs: "hold",
    async run(bench) {
      const letGo = bench.subject.hold!();
      const runs = recordRuns(8);
      bench.reader.start(bench.memory, runs);
      await expectCode("start", () => bench.reader.start(bench.memory, runs), "INPUT_INVALID");
      await expectCode("release", () => bench.reader.release(bench.memory), "INPUT_INVALID");
      letGo();
      await bench.reader.wait();
      bench.expectLanded(runs);
    },
  },
];
