import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { eventStream, serverSentEvent } from "./event-stream.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const patient = { pingMs: 1000, stallMs: 5000, onAbandoned: () => {} };
const decode = (chunk: unknown) => new TextDecoder().decode(chunk as Uint8Array);

async function* events(...texts: readonly string[]) {
  for (const text of texts) yield serverSentEvent(text);
}

it("carries events to their end", async () => {
  expect(await new Response(eventStream(events("a", "b"), patient)).text()).toBe("data: a\n\ndata: b\n\n");
});

it("is kept alive by comments while no event comes", async () => {
  let give = (_: string) => {};
  const slow = (async function* () {
    yield await new Promise<string>((resolve) => (give = resolve));
  })();
  const reader = eventStream(slow, patient).getReader();
  const first = reader.read();
  await vi.advanceTimersByTimeAsync(1000);
  expect(decode((await first).value)).toMatch(/^:.*\n\n$/);
  give("event");
  expect(decode((await reader.read()).value)).toBe("event");
  expect((await reader.read()).done).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});

it("is given up when its reader takes nothing for too long", async () => {
  const onAbandoned = vi.fn();
  const reader = eventStream(events("a", "b", "c"), { ...patient, onAbandoned }).getReader();
  expect(decode((await reader.read()).value)).toBe("data: a\n\n");
  await vi.advanceTimersByTimeAsync(4999);
  expect(onAbandoned).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(2);
  expect(onAbandoned).toHaveBeenCalledOnce();
  await expect(reader.read()).rejects.toThrow("took nothing for 5000 ms");
  expect(vi.getTimerCount()).toBe(0);
});

it("has the connection of such a reader broken, where that can be done", async () => {
  const calls: string[] = [];
  const telling = { onAbandoned: () => calls.push("abandoned"), disconnect: () => calls.push("disconnected") };
  const reader = eventStream(events("a", "b"), { ...patient, ...telling }).getReader();
  await reader.read();
  await vi.advanceTimersByTimeAsync(5001);
  expect(calls).toEqual(["disconnected", "abandoned"]);
});

it("tells its source when the reader goes", async () => {
  const onAbandoned = vi.fn();
  const ended = vi.fn();
  const source = (async function* () {
    try {
      for (;;) yield "a";
    } finally {
      ended();
    }
  })();
  const reader = eventStream(source, { ...patient, onAbandoned }).getReader();
  await reader.read();
  await reader.cancel();
  expect([onAbandoned.mock.calls.length, ended.mock.calls.length, vi.getTimerCount()]).toEqual([1, 1, 0]);
});
