import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";

/** Drops what has survived some collections, in a thread as small as those that read; says whether it is still there then. */
const DROPS = `
  import { parentPort } from "node:worker_threads";
  import { provokeCollection } from ${JSON.stringify(new URL("./garbage.js", import.meta.url))};
  let held = { bytes: new Uint8Array(2 ** 20) };
  const dropped = new WeakRef(held);
  provokeCollection();
  const survived = dropped.deref() === held;
  held = null;
  // A WeakRef keeps what it refers to until its job has ended.
  await new Promise(setImmediate);
  provokeCollection();
  parentPort.postMessage({ survived, stillThere: dropped.deref() !== undefined });`;

it("collects what was dropped, however old it is, and nothing else", async () => {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(DROPS)}`), {
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 1 },
  });
  const [message] = await once(worker, "message");
  expect(message).toEqual({ survived: true, stillThere: false });
  await worker.terminate();
});
