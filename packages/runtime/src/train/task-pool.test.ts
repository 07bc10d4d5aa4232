/** Training on worker threads, which run the sources through module hooks; and, where it has been built, as it is shipped. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { type BudgetError, isFlashwickError, type Predictor } from "@flashwick/core";
import { memorySink, writePredictorFile } from "@flashwick/flash-format";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, expect, it } from "vitest";
import { modelBytes } from "../checkpoint.fixture.js";
import { makeDiskFolder } from "../node/disk-folder.fixture.js";
import { runTasks } from "./task-pool.js";
import { type TrainPredictorsOptions, trainOnThreads, trainPredictors } from "./train-predictors.js";
import type { TaskContext } from "./training-task.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const text = readFileSync(here("../../../demo-models/texts/calibration.txt"), "utf8");
const OPTIONS = {
  texts: [text.slice(0, 40_000)],
  tokens: 2048,
  epochs: 1,
  rank: 8,
  layers: { first: 2, last: 3 },
} satisfies TrainPredictorsOptions;

let dir: string;
let path: string;
let alone: Uint8Array;
beforeAll(async () => {
  dir = makeDiskFolder("train");
  path = join(dir, "opt-demo.gguf");
  writeFileSync(path, await modelBytes("opt-demo", "f16"));
  alone = await fileOf((await trainPredictors(path, { ...OPTIONS, workers: 0 })).predictor);
});
afterAll(() => rmSync(dir, { recursive: true }));

async function fileOf(predictor: Predictor): Promise<Uint8Array> {
  const sink = memorySink("trained");
  await writePredictorFile(sink, predictor);
  return sink.committed!;
}

/** Starts threads on the sources, and remembers them. */
function sourceThreads() {
  const started: Worker[] = [];
  const script = `
    const { register } = require("node:module");
    const { workerData } = require("node:worker_threads");
    register(workerData.hooks);
    import(workerData.entry);`;
  const url = (name: string) => new URL(name, import.meta.url).href;
  const workerData = { hooks: url("./source-hooks.fixture.mjs"), entry: url("./train-worker.ts") };
  const launch = () => {
    const thread = new Worker(script, { eval: true, workerData, execArgv: [] });
    started.push(thread);
    return thread;
  };
  return { started, launch };
}

const EVERY_THREAD_ENDED = [-1, -1];

it("two layers trained on two threads give the predictor of one thread, byte for byte", async () => {
  const { started, launch } = sourceThreads();
  const progress = new Set<string>();
  const onProgress = ({ phase }: { phase: string }) => void progress.add(phase);
  const { predictor } = await trainOnThreads(path, { ...OPTIONS, workers: 2, onProgress }, { launch });
  expect(Buffer.compare(await fileOf(predictor), alone)).toBe(0);
  // Two threads record, two train.
  expect(started.map(({ threadId }) => threadId)).toEqual([...EVERY_THREAD_ENDED, ...EVERY_THREAD_ENDED]);
  expect([...progress]).toEqual(expect.arrayContaining(["record", "train"]));
});

it("a training without a word on memory took what it liked: within its smallest budget it gives the same bytes", async () => {
  const tooSmall = { ...OPTIONS, workers: 2, dramBudgetBytes: 1 };
  const refusal = await trainPredictors(path, tooSmall).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code: "BUDGET_TOO_SMALL" });
  const { smallestBudgetBytes } = (refusal as BudgetError).details as { smallestBudgetBytes: number };
  const { launch, started } = sourceThreads();
  const within = { ...OPTIONS, workers: 2, dramBudgetBytes: smallestBudgetBytes };
  const { predictor } = await trainOnThreads(path, within, { launch });
  expect(Buffer.compare(await fileOf(predictor), alone)).toBe(0);
  // Nothing fits twice: two records and two trainings, one after the other.
  expect(started.map(({ threadId }) => threadId)).toEqual([...EVERY_THREAD_ENDED, ...EVERY_THREAD_ENDED]);
  const less = { ...OPTIONS, workers: 2, dramBudgetBytes: smallestBudgetBytes - 1 };
  await expect(trainPredictors(path, less)).rejects.toMatchObject({ details: { smallestBudgetBytes } });
});

const isBuilt = existsSync(here("../../dist/train.js"));
const build = capability("build", isBuilt ? null : "the package is not built; run build");

it.skipIf(build.isMissing)(build.title("the threads of the built package give the same bytes"), async () => {
  // In a process of its own: packages are their sources in this one.
  const output = join(dir, "built.gguf");
  const script = `
    import { writePredictorFile } from "@flashwick/flash-format";
    import { fileSink } from "@flashwick/flash-format/node";
    import { trainPredictors } from "../../../dist/train.js";
    const { predictor } = await trainPredictors(${JSON.stringify(path)}, ${JSON.stringify({ ...OPTIONS, workers: 2 })});
    await writePredictorFile(await fileSink(${JSON.stringify(output)}), predictor);`;
  const scriptFile = join(dir, "train.mjs");
  writeFileSync(scriptFile, script);
  await promisify(execFile)(process.execPath, [scriptFile]);
  expect(Buffer.compare(readFileSync(output), alone)).toBe(0);
});

it("an abort ends every thread, with the signal's own reason", async () => {
  const { started, launch } = sourceThreads();
  const interrupt = new AbortController();
  const reason = new Error("enough");
  const onProgress = () => interrupt.abort(reason);
  const options = { ...OPTIONS, workers: 2, onProgress, signal: interrupt.signal };
  await expect(trainOnThreads(path, options, { launch })).rejects.toBe(reason);
  expect(started.map(({ threadId }) => threadId)).toEqual(EVERY_THREAD_ENDED);
});

it("a failure in a thread arrives with its code and details, and ends every thread", async () => {
  const { started, launch } = sourceThreads();
  const context: TaskContext = {
    modelPath: join(dir, "none.gguf"),
    backend: "auto",
    directory: dir,
    identity: "none",
    resume: false,
    parts: 2,
    seed: 0,
    epochs: 1,
    namedPerActive: 2,
  };
  const tasks = [0, 1].map((part) => ({ kind: "record" as const, part, documents: [], dramBudgetBytes: 2 ** 30 }));
  const error = await runTasks<"record">(context, tasks, { workers: 2, launch }).catch((error: unknown) => error);
  expect(error).toSatisfy(isFlashwickError);
  expect(error).toMatchObject({ code: "IO_NOT_FOUND", message: expect.stringContaining("none.gguf") });
  expect(started.map(({ threadId }) => threadId)).toEqual(EVERY_THREAD_ENDED);
});
