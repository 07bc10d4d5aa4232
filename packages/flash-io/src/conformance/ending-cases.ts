/** How a batch ends that does not end well, and how a reader does. */

import type { FlashRun } from "../run-plan.js";
import { CONFORMANCE_FILE_BYTES, type ReaderBench, recordRuns, wholeRun } from "./reader-bench.js";
import type { ReaderCase } from "./reader-case.js";
import { ConformanceFailure, expectCode, expectEqual, failureOf } from "./verdict.js";

/** Starts a batch that is held back, aborts it while `wait` waits, and judges what `wait` throws and what has landed. */
async function abortWhile(bench: ReaderBench, wait: () => void | Promise<void>): Promise<void> {
  const letGo = bench.subject.hold!();
  const stop = new AbortController();
  const reason = new Error("enough");
  bench.reader.start(bench.memory, recordRuns(64), stop.signal);
  const waiting = failureOf("waiting", wait);
  stop.abort(reason);
  expectEqual("what waiting throws", await waiting, reason);
  letGo();
  bench.expectUntouched();
  const other = bench.allocate();
  const runs = recordRuns(8);
  bench.reader.start(other, runs);
  await bench.reader.wait();
  bench.expectLanded(runs, other);
  bench.expectUntouched();
}

/** Closes a reader while a batch is held back, and judges what `wait` throws. */
async function closeWhile(bench: ReaderBench, wait: () => void | Promise<void>): Promise<void> {
  bench.subject.hold!();
  bench.reader.start(bench.memory, recordRuns(64));
  const waiting = expectCode("waiting", wait, "DISPOSED");
  await bench.reader.close();
  await waiting;
  bench.expectUntouched();
}

const PTR = 2 ** 18;
const halves = [
  { ptr: PTR + 4096, sizeBytes: 512 },
  { ptr: PTR, sizeBytes: 512 },
];

/** Runs that the file ends inside of. */
const TRUNCATED: readonly (readonly [string, FlashRun])[] = [
  ["an aligned run", wholeRun(CONFORMANCE_FILE_BYTES - 777, 4096, PTR)],
  ["an unaligned run", wholeRun(CONFORMANCE_FILE_BYTES - 7, 8, PTR)],
  ["a scattered run", { offset: CONFORMANCE_FILE_BYTES - 777, sizeBytes: 1024, pieces: halves, picks: 2 }],
  ["a run beyond it", wholeRun(8 * CONFORMANCE_FILE_BYTES, 512, PTR)],
];

const truncationCases = TRUNCATED.map(
  ([what, run]): ReaderCase => ({
    title: `names file and offset when the file ends inside ${what}, and reads on with the next batch`,
    async run(bench) {
      const runs = [...recordRuns(20), run, ...recordRuns(20)];
      const { message } = await expectCode("reading", () => bench.read(runs), "FORMAT_TRUNCATED");
      const where = `${bench.reader.name} @ ${run.offset}`;
      if (!message.includes(where)) throw new ConformanceFailure(`the message does not name ${where}: ${message}`);
      await bench.expectUsable();
    },
  }),
);

export const endingCases: readonly ReaderCase[] = [
  ...truncationCases,
  {
    title: "aborted before it starts: the signal's own reason, and nothing is read",
    async run(bench) {
      const reason = new Error("enough");
      const thrown = await failureOf("start", () =>
        bench.reader.start(bench.memory, recordRuns(8), AbortSignal.abort(reason)),
      );
      expectEqual("what start throws", thrown, reason);
      bench.expectUntouched();
      await bench.expectUsable();
    },
  },
  {
    title: "aborted after its batch has ended: nothing happens",
    async run(bench) {
      const stop = new AbortController();
      await bench.read(recordRuns(8), stop.signal);
      stop.abort(new Error("enough"));
      await bench.reader.wait();
      await bench.expectUsable();
    },
  },
  {
    title: "aborted while waiting: the signal's own reason, and no byte lands afterwards",
    needs: "hold",
    run: (bench) => abortWhile(bench, () => bench.reader.wait()),
  },
  {
    title: "aborted while waiting for named runs: the same",
    needs: "hold",
    run: (bench) => abortWhile(bench, () => bench.reader.waitFor([5, 60])),
  },
  {
    title: "an open file that is cut ends the batch with a typed error",
    needs: "cut",
    async run(bench) {
      await bench.expectUsable();
      bench.subject.cut!(8192);
      const runs = [wholeRun(500_000, 4096)];
      await expectCode("reading", () => bench.read(runs), "FORMAT_TRUNCATED", "IO_FILE_CHANGED");
    },
  },
  {
    title: "an open file that is changed is named as changed",
    needs: "change",
    async run(bench) {
      await bench.expectUsable();
      bench.subject.change!();
      await expectCode("reading", () => bench.read(recordRuns(8)), "IO_FILE_CHANGED");
    },
  },
  {
    title: "closed while waiting: DISPOSED, and nothing lands",
    needs: "hold",
    run: (bench) => closeWhile(bench, () => bench.reader.wait()),
  },
  {
    title: "closed while waiting for named runs: the same",
    needs: "hold",
    run: (bench) => closeWhile(bench, () => bench.reader.waitFor([5, 60])),
  },
  {
    title: "closed before anybody waits for the batch in flight",
    async run(bench) {
      bench.reader.start(bench.memory, recordRuns(64));
      await bench.reader.close();
    },
  },
  {
    title: "may be closed twice, at once or one after the other",
    async run(bench) {
      await bench.expectUsable();
      await Promise.all([bench.reader.close(), bench.reader.close()]);
      await bench.reader.close();
    },
  },
  {
    title: "refuses to start once it is closed",
    async run(bench) {
      await bench.reader.close();
      await expectCode("start", () => bench.reader.start(bench.memory, recordRuns(1)), "DISPOSED");
      bench.expectUntouched();
    },
  },
];
