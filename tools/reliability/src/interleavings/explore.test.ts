/** The checker itself: on protocols that are known to be right, and on such as are known to be wrong. */
import { expect, it } from "vitest";
import { type ExploredThread, explore } from "./explore.js";
import { SharedMemory } from "./shared-memory.js";

const [FLAG, DATA, SLEEPING] = [0, 1, 2];

function on(memory: SharedMemory, code: (words: Int32Array) => void): () => void {
  return () => code(new Int32Array(memory.buffer));
}

it("finds both orders of two writes, and every value between two of a counter's", () => {
  const memory = new SharedMemory(16);
  const seen = new Set<string>();
  const count = (name: string): ExploredThread => ({
    ...{ name, mustEnd: true },
    run: on(memory, (words) => {
      const before = Atomics.add(words, FLAG, 1);
      Atomics.store(words, DATA, before);
      seen.add(`${name} ${before} ${Atomics.load(words, FLAG)}`);
    }),
  });
  expect(explore({ memory, threads: [count("a"), count("b")] }).fault).toBeNull();
  expect([...seen].toSorted()).toEqual(["a 0 1", "a 0 2", "a 1 2", "b 0 1", "b 0 2", "b 1 2"]);
});

it("finds an increment that is lost", () => {
  const memory = new SharedMemory(16);
  const increment = on(memory, (words) => void Atomics.store(words, FLAG, Atomics.load(words, FLAG) + 1));
  const check = on(memory, (words) => {
    while (Atomics.load(words, DATA) < 2) memory.pause();
    if (Atomics.load(words, FLAG) !== 2) throw new Error("lost");
  });
  const counted = (name: string): ExploredThread => ({
    ...{ name, mustEnd: true },
    run: () => {
      increment();
      on(memory, (words) => void Atomics.add(words, DATA, 1))();
    },
  });
  const { fault } = explore({
    ...{ memory, threads: [counted("a"), counted("b"), { name: "checker", run: check, mustEnd: true, pauses: true }] },
  });
  expect(fault).toMatch(/checker throws Error: lost/);
});

/** A sleeper and a waker: the waker looks for sleepers after it has changed what they sleep on. */
function sleepAndWake(tells: "before it looks" | "after it has looked") {
  const memory = new SharedMemory(16);
  const sleeper = on(memory, (words) => {
    if (tells === "before it looks") Atomics.store(words, SLEEPING, 1);
    while (Atomics.load(words, FLAG) === 0) {
      // The value is not looked at again: only a notification ends the sleep.
      if (tells === "after it has looked") Atomics.store(words, SLEEPING, 1);
      Atomics.wait(words, tells === "before it looks" ? FLAG : DATA, 0);
    }
  });
  const waker = on(memory, (words) => {
    Atomics.store(words, FLAG, 1);
    if (Atomics.load(words, SLEEPING) === 1) Atomics.notify(words, tells === "before it looks" ? FLAG : DATA);
  });
  return explore({
    memory,
    threads: [
      { name: "sleeper", run: sleeper, mustEnd: true },
      { name: "waker", run: waker, mustEnd: true },
    ],
  });
}

it("lets a right hand-off pass, and finds the wake-up that a wrong one loses", () => {
  expect(sleepAndWake("before it looks").fault).toBeNull();
  expect(sleepAndWake("after it has looked").fault).toMatch(/^nobody wakes sleeper:/);
});

it("an endless loop has fewer states where the thread says that it is as at its start, and the same faults", () => {
  const statesOf = (isHome: ExploredThread["isHome"]) => {
    const memory = new SharedMemory(16);
    const loop: ExploredThread = {
      ...{ name: "loop", mustEnd: false, isHome },
      run: on(memory, (words) => {
        for (;;) {
          const bell = Atomics.load(words, FLAG);
          Atomics.load(words, DATA);
          Atomics.wait(words, FLAG, bell);
        }
      }),
    };
    const rings = on(memory, (words) => {
      for (let i = memory.resume(); i < 3; memory.checkpoint(++i)) {
        Atomics.add(words, FLAG, 1);
        Atomics.notify(words, FLAG);
      }
    });
    const { states, fault } = explore({ memory, threads: [loop, { name: "bell", run: rings, mustEnd: true }] });
    expect(fault).toBeNull();
    return states;
  };
  const few = statesOf(({ name, word }) => name === "load" && word === DATA);
  expect(statesOf(() => false)).toBeGreaterThan(2 * few);
});
