/**
 * What goes wrong while a whole model is decoding, with real files, threads, direct reads and lookahead: a typed error before the
 * request ends, close() works, and no thread, descriptor or arena is left. What hangs is told by vitest's time-out.
 */
import { closeSync, constants, copyFileSync, openSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync, writeSync } from "node:fs"; // biome-ignore format: one import
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Worker } from "node:worker_threads";
import { isFlashwickError, MiB, neuronGrid } from "@flashwick/core";
import { recordLayout } from "@flashwick/flash-format";
import { type Arena, kernelFactory } from "@flashwick/kernels";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it, onTestFailed, onTestFinished } from "vitest";
import { modelBytes } from "../checkpoint.fixture.js";
import { Model } from "../model.js";
import type { GenerateOptions } from "../model-options.js";
import { directReadsMissing, makeDiskFolder } from "./disk-folder.fixture.js";
import { openModel } from "./open-model.js";

const READERS = 8;
const OPTIONS = {
  predictor: fileURLToPath(new URL("../../../demo-models/models/opt-demo/opt-demo.predictor.gguf", import.meta.url)),
  // Three quarters of the file: neurons come and go.
  dramBudgetBytes: 11 * MiB,
  kvPrecision: "f16",
  readers: READERS,
  threads: 2,
  lookahead: true,
} as const;
const PROMPT = [2, 300, 45, 7, 499];
/** Sampled, so that no loop of words is entered in which everything is resident. */
const ENDLESS: GenerateOptions = { maxTokens: 100, temperature: 2, seed: 1, ignoreEos: true };
/** Late enough that reads are in flight at nearly any time. */
const JITTER_US = 5000;

/** Without them every test runs, but cannot count threads and open files: its title says so. */
const linux = capability(
  "linux",
  process.platform === "linux" ? null : `on ${process.platform} nobody counts threads and open files`,
);
const direct = capability("direct-io", directReadsMissing());

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

let dir: string;
let path: string;
/** What is generated where nothing goes wrong. */
let expected: readonly number[];
beforeAll(async () => {
  dir = makeDiskFolder("failures");
  path = join(dir, "opt-demo.gguf");
  writeFileSync(path, await modelBytes("opt-demo", "f16"));
  expected = await firstTokens(path);
});
afterAll(() => rmSync(dir, { recursive: true }));

function newFile(name: string): string {
  const file = join(dir, `${name}.gguf`);
  copyFileSync(path, file);
  return file;
}

async function firstTokens(file: string): Promise<readonly number[]> {
  // Few readers: they give the same bits, and start sooner.
  const model = await openModel(file, { ...OPTIONS, readers: 2 });
  const tokens = await takeTokens(model, 3);
  await model.close();
  return tokens;
}

/** The first tokens, and out of the loop. */
async function takeTokens(model: Model, count: number): Promise<readonly number[]> {
  const tokens: number[] = [];
  for await (const { token } of model.generate(PROMPT, ENDLESS)) {
    tokens.push(token!);
    if (tokens.length === count) break;
  }
  return tokens;
}

function countThreads(): number {
  return linux.isMissing ? 0 : readdirSync("/proc/self/task").length;
}

/** Of open model and predictor files: descriptor and target. */
function openFiles(): [number, string][] {
  if (linux.isMissing) return [];
  return readdirSync("/proc/self/fd").flatMap((fd): [number, string][] => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(dir) || target.includes("opt-demo") ? [[Number(fd), target]] : [];
    } catch {
      // The descriptor with which the folder was listed.
      return [];
    }
  });
}

/** The descriptor that reader threads read `file` with; undefined where they do not read directly. */
function directDescriptor(file: string): number | undefined {
  const found = openFiles().find(([fd, target]) => {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))![1]!;
    return target === file && (Number.parseInt(flags, 8) & constants.O_DIRECT) !== 0;
  });
  return found?.[0];
}

/**
 * Makes every read of `fd` fail with EBADF, as if its device were gone. The number goes to the same file opened for writing only: left
 * free, it would go to whatever opens something next, and close() would close that.
 */
function loseDevice(fd: number, file: string): void {
  closeSync(fd);
  const opened: number[] = [];
  do opened.push(openSync(file, constants.O_WRONLY));
  while (opened.at(-1) !== fd && opened.length < 100);
  for (const other of opened) if (other !== fd) closeSync(other);
}

/** Waits as long as the test may take; where that is in vain, says for what. */
async function until(what: string, isSo: () => boolean): Promise<void> {
  let [met, over] = [false, false];
  onTestFinished(() => {
    over = true;
  });
  onTestFailed(() => {
    if (!met) console.error(`waited in vain until ${what}`);
  });
  while (!(met = isSo()) && !over) await sleep(10);
}

async function thrown(work: Promise<unknown>): Promise<unknown> {
  const error = await work.then(
    () => expect.fail("nothing was thrown"),
    (error: unknown) => error,
  );
  // V8 keeps an error's frames, and so the arenas that they work in, until somebody reads them (seen with Node 20).
  void (error as Error).stack;
  return error;
}

/** An open model whose threads can be got at. */
class Patient {
  readonly readers: readonly Worker[];
  readonly computers: readonly Worker[];
  readonly #arenas: WeakRef<Arena>[] = [];
  readonly model: Model;

  private constructor(
    opened: Model,
    workers: readonly Worker[],
    readonly threadsBefore: number,
  ) {
    expect(workers.length).toBe(READERS + 1);
    this.readers = workers.slice(0, READERS);
    this.computers = workers.slice(READERS);
    const kernels = kernelFactory((arena) => {
      this.#arenas.push(new WeakRef(arena));
      return opened.parts.kernels(arena);
    }, opened.parts.kernels);
    this.model = new Model({ ...opened.parts, kernels }, OPTIONS);
  }

  static async open(file: string): Promise<Patient> {
    const threads = countThreads();
    const workers: Worker[] = [];
    const onWorker = (worker: Worker) => workers.push(worker);
    process.on("worker", onWorker);
    const opened = await openModel(file, { ...OPTIONS, jitterUs: JITTER_US });
    process.off("worker", onWorker);
    const patient = new Patient(opened, workers, threads);
    // A test that fails half-way is none of the next one's business.
    onTestFinished(() => patient.model.close().catch(() => {}));
    return patient;
  }

  /** What the loop throws after `mishap` happened in the middle of a token. */
  async failure(mishap: () => unknown, options: GenerateOptions = {}): Promise<unknown> {
    let happened = false;
    const decode = async () => {
      let seen = 0;
      for await (const _ of this.model.generate(PROMPT, { ...ENDLESS, ...options })) {
        if (++seen !== 2) continue;
        // While the next token waits for its reads.
        setImmediate(() => {
          happened = true;
          void mishap();
        });
      }
    };
    const error = await thrown(decode());
    expect(happened).toBe(true);
    return error;
  }

  async close(): Promise<void> {
    await this.model.close();
    await this.expectNothingLeft();
  }

  async expectNothingLeft(): Promise<void> {
    expect(openFiles()).toEqual([]);
    const workers = [...this.readers, ...this.computers];
    await until("its threads have ended", () => workers.every(({ threadId }) => threadId === -1));
    await until("there are no more threads than before", () => countThreads() <= this.threadsBefore);
    expect(this.#arenas.length).toBeGreaterThan(0);
    await until("nothing refers to its arenas", () => {
      collectGarbage();
      return this.#arenas.every((arena) => arena.deref() === undefined);
    });
  }
}

function typed(code: string, message: RegExp) {
  return expect.objectContaining({ code, message: expect.stringMatching(message) });
}

describe(linux.title("while decoding, a failure that is not of the file"), () => {
  it("a reader thread crashes", async () => {
    const patient = await Patient.open(path);
    const error = await patient.failure(() => patient.readers[3]!.terminate());
    expect(error).toEqual(typed("IO_READ", /opt-demo\.gguf: a reader thread ended .*open the file again/));
    // The model has no reader any more, and says so again.
    expect(await thrown(takeTokens(patient.model, 1))).toEqual(typed("IO_READ", /a reader thread ended/));
    await patient.close();
    expect(await firstTokens(path)).toEqual(expected);
  });

  it("a compute thread crashes", async () => {
    const patient = await Patient.open(path);
    const error = await patient.failure(() => patient.computers[0]!.terminate());
    expect(error).toEqual(typed("THREAD_FAILED", /compute thread 1 ended.*close the model/));
    expect(await thrown(takeTokens(patient.model, 1))).toEqual(typed("THREAD_FAILED", /compute thread 1 ended/));
    await patient.close();
    expect(await firstTokens(path)).toEqual(expected);
  });

  const lostDevice = direct.title("the device goes away (EBADF)");
  it.skipIf(linux.isMissing || direct.isMissing)(lostDevice, async () => {
    const patient = await Patient.open(path);
    const fd = directDescriptor(path);
    expect(fd).toBeDefined();
    const error = await patient.failure(() => loseDevice(fd!, path));
    expect(error).toEqual(typed("IO_READ", /opt-demo\.gguf @ \d+: reading \d+ bytes failed .*EBADF.*check the device/));
    await patient.close();
    expect(await firstTokens(path)).toEqual(expected);
  });

  it("the signal is aborted: its own reason, and the model works on", async () => {
    const patient = await Patient.open(path);
    const abort = new AbortController();
    const reason = new Error("enough");
    expect(await patient.failure(() => abort.abort(reason), { signal: abort.signal })).toBe(reason);
    expect(await takeTokens(patient.model, 3)).toEqual(expected);
    await patient.close();
  });

  it("the loop is left, and the model works on", async () => {
    const patient = await Patient.open(path);
    expect(await takeTokens(patient.model, 3)).toEqual(expected);
    expect(await takeTokens(patient.model, 3)).toEqual(expected);
    await patient.close();
  });
});

describe(linux.title("while decoding, the file"), () => {
  /** Flips one bit of every record, as a worn block does: without a trace. Or leaves the trace of whoever writes. */
  function damageRecords(file: string, { header }: Model): void {
    const { strideBytes } = recordLayout(header);
    const fd = openSync(file, "r+");
    const bytes = readFileSync(file);
    for (const { offset } of header.records) {
      for (let at = offset + 100; at < offset + strideBytes * neuronGrid(header.geometry).dFf; at += strideBytes)
        bytes[at]! ^= 4;
    }
    writeSync(fd, bytes, 0, bytes.length, 0);
    closeSync(fd);
  }

  it("is truncated", async () => {
    const file = newFile("truncated");
    const patient = await Patient.open(file);
    const error = await patient.failure(() => truncateSync(file, 8192));
    expect(error).toEqual(typed("IO_FILE_CHANGED", /truncated\.gguf: the file has 8192 bytes, \d+ when it was opened/));
    await patient.close();
  });

  it("is damaged without anybody writing to it", async () => {
    const file = newFile("damaged");
    // Whole seconds, which can be put back.
    utimesSync(file, 1e9, 1e9);
    const patient = await Patient.open(file);
    const error = await patient.failure(() => {
      damageRecords(file, patient.model);
      utimesSync(file, 1e9, 1e9);
    });
    expect(error).toEqual(
      typed("INTEGRITY_RECORD", /damaged\.gguf @ \d+: record of layer \d+, neuron \d+ has CRC-32C/),
    );
    await patient.close();
  });

  it("is written to", async () => {
    const file = newFile("written");
    const patient = await Patient.open(file);
    const error = await patient.failure(() => damageRecords(file, patient.model));
    expect(isFlashwickError(error) && error.code).toMatch(/^(INTEGRITY_RECORD|IO_FILE_CHANGED)$/);
    await patient.close();
  });

  it("is replaced by another", async () => {
    const file = newFile("replaced");
    const patient = await Patient.open(file);
    const error = await patient.failure(() => renameSync(newFile("other"), file));
    expect(error).toEqual(typed("IO_FILE_CHANGED", /replaced\.gguf: the file was replaced by another/));
    await patient.close();
    expect(await firstTokens(file)).toEqual(expected);
    expect(statSync(file).size).toBe(statSync(path).size);
  });
});

describe(linux.title("close()"), () => {
  const disposed = typed("DISPOSED", /the model is closed/);

  it("while decoding ends the loop", async () => {
    const patient = await Patient.open(path);
    let closing: Promise<void> | undefined;
    const error = await patient.failure(() => {
      closing = patient.close();
    });
    expect(error).toEqual(disposed);
    await closing;
    expect(await firstTokens(path)).toEqual(expected);
  });

  it("while the weights are loaded ends that", async () => {
    const patient = await Patient.open(path);
    let closing: Promise<void> | undefined;
    const onProgress = ({ loaded }: { loaded: number }) => {
      if (loaded > 0) closing ??= patient.model.close();
    };
    expect(await thrown(patient.model.generate(PROMPT, { onProgress }).next())).toEqual(disposed);
    await closing;
    await patient.expectNothingLeft();
  });

  it("within the loop ends it, and the requests that wait for its end", async () => {
    const patient = await Patient.open(path);
    const inLoop = async () => {
      let next: Promise<unknown> | undefined;
      for await (const _ of patient.model.generate(PROMPT, ENDLESS)) {
        expect(next, "it went on").toBeUndefined();
        next = thrown(takeTokens(patient.model, 1));
        await Promise.all([patient.model.close(), patient.model.close()]);
        expect(await next).toEqual(disposed);
      }
    };
    expect(await thrown(inLoop())).toEqual(disposed);
    await patient.expectNothingLeft();
  });

  it("does not wait for a loop that nobody goes on with", async () => {
    const patient = await Patient.open(path);
    let left: AsyncGenerator<unknown> | null = patient.model.generate(PROMPT, ENDLESS);
    await left.next();
    await patient.model.close();
    await left.return(undefined);
    left = null;
    await patient.expectNothingLeft();
  });
});
