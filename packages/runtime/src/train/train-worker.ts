/** Entry of a training worker thread: does the tasks that it is sent, one at a time. */
import { parentPort } from "node:worker_threads";
import { assert, type Progress } from "@flashwick/core";
import { plainError, type TaskMessage, type TaskOrder } from "./task-pool.js";
import { runTask } from "./training-task.js";

const port = parentPort;
assert(port, "runs as a worker thread");
const send = (message: TaskMessage) => port.postMessage(message);

port.on("message", ({ context, task }: TaskOrder) => {
  const onProgress = (progress: Progress) => send({ kind: "progress", progress });
  runTask(context, task, { onProgress }).then(
    (result) => send({ kind: "result", result }),
    (error) => send({ kind: "failure", failure: plainError(error) }),
  );
});
