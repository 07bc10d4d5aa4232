/** The page's end of the engine worker. */
import type { NumberedAnswer, NumberedRequest, Request } from "./messages.js";

const worker = new Worker(new URL("./engine-worker.ts", import.meta.url), { type: "module", name: "engine" });
let lastTask = 0;

/** Sends a request, and returns its number. */
export function ask(request: Request): number {
  const message: NumberedRequest = { task: ++lastTask, request };
  worker.postMessage(message);
  return lastTask;
}

/** @param onFailure Told where the engine cannot be loaded at all. */
export function listen(onAnswer: (answer: NumberedAnswer) => void, onFailure: (message: string) => void): void {
  worker.onmessage = ({ data }: MessageEvent<NumberedAnswer>) => onAnswer(data);
  worker.onerror = ({ message }) => onFailure(message);
}
