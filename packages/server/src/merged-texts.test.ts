import type { ServedSummary, ServedToken } from "@flashwick/runtime";
import { expect, it } from "vitest";
import { mergeTexts } from "./merged-texts.js";

const noEnd = () => {};
const summary = { finishReason: "length" } as ServedSummary;
const token = (text: string): ServedToken => ({ text, token: 1, logprob: null, finishReason: null });

async function* text(words: readonly string[], log: string[] = [], failure?: Error) {
  try {
    for (const word of words) {
      yield token(word);
      log.push(word);
    }
    if (failure) throw failure;
    return summary;
  } finally {
    log.push("end");
  }
}

it("gives every text in order, and every summary", async () => {
  const words: string[][] = [[], []];
  let ends = 0;
  for await (const event of mergeTexts([text(["a", "b", "c"]), text(["d"])], noEnd, () => 0)) {
    if ("token" in event) words[event.index]!.push(event.token.text);
    else ends++;
  }
  expect([words, ends]).toEqual([[["a", "b", "c"], ["d"]], 2]);
});

it("ends all texts when one fails", async () => {
  const log: string[] = [];
  const forever = text(
    Array.from({ length: 1000 }, () => "x"),
    log,
  );
  const events = mergeTexts([forever, text(["a"], [], new Error("no more"))], noEnd, () => 0);
  const drained = async () => {
    for await (const event of events) expect(event.index).toBeLessThan(2);
  };
  await expect(drained()).rejects.toThrow("no more");
  expect(log.at(-1)).toBe("end");
  expect(log.length).toBeLessThan(20);
});

it("ends all texts when the caller stops", async () => {
  const log: string[] = [];
  for await (const event of mergeTexts([text(["a", "b"], log)], noEnd, () => 0)) {
    expect(event.index).toBe(0);
    break;
  }
  expect(log.at(-1)).toBe("end");
});

it("ends a text that is in the middle of a token", async () => {
  const ending = new AbortController();
  const stuck = (async function* (): AsyncGenerator<ServedToken, ServedSummary> {
    yield token("a");
    await new Promise((_, reject) => ending.signal.addEventListener("abort", () => reject(ending.signal.reason)));
    return summary;
  })();
  const events = mergeTexts(
    [stuck],
    () => ending.abort(new Error("ended")),
    () => 0,
  );
  expect((await events.next()).done).toBe(false);
  // It is asked for another token when the first one is taken, and has none to give.
  expect(await events.return()).toEqual({ done: true, value: undefined });
});

it("a failure while nobody waits reaches whoever waits next, and nobody else", async () => {
  const events = mergeTexts([text(["a"], [], new Error("late")), text(["b", "c"])], noEnd, () => 0);
  await events.next();
  // The first text fails meanwhile: an unhandled rejection would fail this test run.
  await new Promise((resolve) => setImmediate(resolve));
  await expect(
    (async () => {
      for (;;) if ((await events.next()).done) return;
    })(),
  ).rejects.toThrow("late");
});
