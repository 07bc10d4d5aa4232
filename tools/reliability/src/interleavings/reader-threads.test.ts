/** Reader threads: short searches. The long ones are `node tools/reliability/interleavings.mjs`. */
import { describe, expect, it } from "vitest";
import { WORDS } from "../../../../packages/flash-io/src/threads/table-layout.js";
import { explore } from "./explore.js";
import { readerExploration, SHORT_READERS } from "./reader-threads.js";
import type { SharedOp } from "./shared-memory.js";

describe("every run is read once before it counts as landed, and nobody sleeps through what concerns it", () => {
  it.each(SHORT_READERS)("$name", (setting) => {
    const { fault, states } = explore(readerExploration(setting));
    expect(fault).toBeNull();
    expect(states).toBeGreaterThan(30);
  });
});

describe("a fault that is planted is found", () => {
  const drop = (who: RegExp, name: SharedOp["name"], word: number) => (op: SharedOp, thread: string) =>
    who.test(thread) && op.name === name && op.word === word;
  it.each([
    ["an entry is taken without an exchange", drop(/thread/, "compareExchange", WORDS.ticket), /was read 2 times/],
    ["a thread does not wake the owner", drop(/thread/, "notify", WORDS.completions), /nobody wakes owner/],
    ["a read is not counted", drop(/thread/, "add", WORDS.completions), /nobody wakes owner/],
    ["the owner does not say that it sleeps", drop(/owner/, "store", WORDS.waiting), /nobody wakes owner/],
    ["a thread does not say that it sleeps", drop(/thread/, "add", WORDS.sleepers), /nobody wakes owner/],
    ["the owner does not ring", drop(/owner/, "add", WORDS.doorbell), /nobody wakes owner/],
  ] as const)("%s", (_, sabotage, expected) => {
    expect(explore({ ...readerExploration(SHORT_READERS[2]!), sabotage }).fault).toMatch(expected);
  });
});
