import { expect, it, vi } from "vitest";
import { HANDOVER_TOKENS, Handover } from "./handover.js";
import type { ServedSummary, ServedToken } from "./served-request.js";

const token = (id: number): ServedToken => ({ text: `${id}`, token: id, logprob: null, finishReason: null });
const summary = { tokens: [1] } as unknown as ServedSummary;

it("hands out tokens in order, and then the summary, as often as it is asked", async () => {
  const handover = new Handover(() => {});
  handover.push(token(1));
  handover.push(token(2));
  handover.finish(summary);
  expect([await handover.take(), await handover.take()]).toEqual([token(1), token(2)]);
  expect([await handover.take(), await handover.take()]).toEqual([{ summary }, { summary }]);
});

it("lets a consumer wait for what comes", async () => {
  const handover = new Handover(() => {});
  const first = handover.take();
  handover.push(token(7));
  expect(await first).toEqual(token(7));
});

it("is full after some tokens, and tells when there is room again", async () => {
  const onRoom = vi.fn();
  const handover = new Handover(onRoom);
  for (let i = 0; i < HANDOVER_TOKENS; i++) {
    expect(handover.isFull).toBe(false);
    handover.push(token(i));
  }
  expect(handover.isFull).toBe(true);
  await handover.take();
  await handover.take();
  expect(onRoom).toHaveBeenCalledTimes(1);
});

it("after a failure hands out what is there, and after an abort nothing; the first end counts", async () => {
  const failed = new Handover(() => {});
  const aborted = new Handover(() => {});
  for (const handover of [failed, aborted]) handover.push(token(1));
  failed.fail(new Error("broken"));
  failed.abandon(new Error("late"));
  aborted.abandon(new Error("enough"));
  expect(await failed.take()).toEqual(token(1));
  await expect(failed.take()).rejects.toThrow("broken");
  await expect(aborted.take()).rejects.toThrow("enough");
});
