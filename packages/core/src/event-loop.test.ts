import { afterEach, expect, it, vi } from "vitest";
import { eventLoopTurn } from "./event-loop.js";

afterEach(() => vi.unstubAllGlobals());

it.each([
  ["where there is setImmediate", true],
  ["where there is none", false],
])("lets in what waits, %s", async (_, immediate) => {
  if (!immediate) vi.stubGlobal("setImmediate", undefined);
  let came = false;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    came = true;
  };
  port2.postMessage(null);
  await Promise.resolve();
  expect(came).toBe(false);
  // A message may take the loop more than one round.
  for (let turn = 0; turn < 100 && !came; turn++) await eventLoopTurn();
  port1.close();
  expect(came).toBe(true);
});
