/**
 * Runs training tasks on worker threads, or on the calling thread where there are none. The first failure, or an abort, ends
 * all workers; nothing is left running.
 */
import { Worker } from "node:worker_threads";
import { type ErrorCode, FlashwickError, isFlashwickError, type Progress } from "@flashwick/core";
import { provokeCollection } from "@flashwick/kernels-wasm/node";
import { runTask, type TaskContext, type TaskResult, type TrainingTask } from "./training-task.js";

/** Main thread to worker. */
export interface TaskOrder {
  readonly context: TaskContext;
  readonly task: TrainingTask;
}

/** Worker to main thread. */
export type TaskMessage =
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "result"; readonly result: TaskResult[keyof TaskResult] }
  | { readonly kind: "failure"; readonly failure: PlainError };

/** An error that crosses threads: structured clone drops classes and codes. */
export interface PlainError {
  readonly code: ErrorCode | null;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly stack: string | undefined;
}

export function plainError(error: unknown): PlainError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return isFlashwickError(error)
    ? { code: error.code, message, details: error.details, stack }
    : { code: null, message, details: {}, stack };
}

function revive({ code, message, details, stack }: PlainError): Error {
  const error = code === null ? new Error(message) : new FlashwickError(code, message, { details });
  if (stack) error.stack = stack;
  return error;
}

export interface PoolOptions {
  /** Worker threads; 0 runs everything on the calling thread, one after the other. */
  readonly workers: number;
  readonly onProgress?: ((task: number, progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Starts a worker thread. Default: as it is built. */
  readonly launch?: LaunchTrainer | undefined;
}

/** Starts a thread that runs train-worker. */
export type LaunchTrainer = () => Worker;

/** The file stands beside this one, in the build. */
function launchTrainer(): Worker {
  return new Worker(new URL("./train-worker.js", import.meta.url));
}

/** The results of `tasks`, in their order. Each task has a thread of its own: what it held is free at once when that ends. */
export async function runTasks<K extends keyof TaskResult>(
  context: TaskContext,
  tasks: readonly Extract<TrainingTask, { kind: K }>[],
  options: PoolOptions,
): Promise<TaskResult[K][]> {
  const { workers, signal, launch = launchTrainer } = options;
  const results: TaskResult[K][] = new Array(tasks.length);
  let next = 0;
  if (workers === 0) {
    for (const [i, task] of tasks.entries()) {
      const onProgress = (progress: Progress) => options.onProgress?.(i, progress);
      results[i] = (await runTask(context, task, { onProgress, signal })) as TaskResult[K];
      provokeCollection();
    }
    return results;
  }
  const threads = new Set<Worker>();
  try {
    const lanes = Array.from({ length: Math.min(workers, tasks.length) }, async () => {
      while (next < tasks.length) {
        const i = next++;
        const thread = launch();
        threads.add(thread);
        const order = { context, task: tasks[i]! };
        results[i] = (await runOn(thread, order, (p) => options.onProgress?.(i, p), signal)) as TaskResult[K];
        await thread.terminate();
        threads.delete(thread);
      }
    });
    await Promise.all(lanes);
    return results;
  } finally {
    await Promise.all([...threads].map((thread) => thread.terminate()));
  }
}

function runOn(
  thread: Worker,
  order: TaskOrder,
  onProgress: (progress: Progress) => void,
  signal?: AbortSignal,
): Promise<TaskResult[keyof TaskResult]> {
  return new Promise((resolve, reject) => {
    const onAbort = () => settle(() => reject(signal!.reason));
    const onMessage = (message: TaskMessage) => {
      if (message.kind === "progress") onProgress(message.progress);
      else if (message.kind === "result") settle(() => resolve(message.result));
      else settle(() => reject(revive(message.failure)));
    };
    const onError = (error: Error) => settle(() => reject(error));
    const onExit = (code: number) => settle(() => reject(new Error(`a training worker ended early (status ${code})`)));
    const settle = (then: () => void) => {
      thread.off("message", onMessage).off("error", onError).off("exit", onExit);
      signal?.removeEventListener("abort", onAbort);
      then();
    };
    thread.on("message", onMessage).on("error", onError).on("exit", onExit);
    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort);
    thread.postMessage(order);
  });
}
