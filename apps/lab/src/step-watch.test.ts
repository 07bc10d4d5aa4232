/** What a step looked like, from what its observers saw: rows and passes are kept apart, and laid on one clock. */
import type { Engine } from "@flashwick/runtime/engine";
import { expect, it } from "vitest";
import { STATE } from "./messages.js";
import { StepWatch } from "./step-watch.js";

const FACTS = { nLayers: 2, dFf: 4 };
const { away, resident, awake, fetched } = STATE;

/** @param neurons That the slots of every layer hold. */
function holding(...neurons: number[]): Engine {
  return { residentNeurons: () => Uint32Array.from(neurons) } as unknown as Engine;
}

it("a step of several tokens shows what each of them used, and fetches once", () => {
  const watch = new StepWatch(FACTS);
  const { verifying } = watch;
  verifying.stepBegins!(2);
  for (const layer of [0, 1]) {
    verifying.named!(layer, Uint32Array.of(0, 2), holding(0, 1), 0);
    verifying.named!(layer, Uint32Array.of(0, 1, 2), holding(0, 1), 1);
  }
  const { states, sets, isNamed } = watch.take();
  // Neuron 2 is fetched once, for both; neuron 0 was there for both.
  expect([...states]).toEqual([awake, awake, fetched, away, awake, awake, fetched, away]);
  expect(sets.map((layers) => layers.map((set) => [...set]))).toEqual([
    [
      [0, 2],
      [0, 2],
    ],
    [
      [0, 1, 2],
      [0, 1, 2],
    ],
  ]);
  expect(isNamed).toBe(true);
});

it("passes that draft are rows of the step, and stand before the one that verifies", () => {
  const watch = new StepWatch(FACTS);
  const { drafting, verifying } = watch;
  for (const neuron of [0, 1]) {
    drafting.stepBegins!(1);
    drafting.span!({ what: "attention", beginMs: 0, endMs: 2 });
    for (const layer of [0, 1]) drafting.named!(layer, Uint32Array.of(neuron), holding(0, 3), 0);
    drafting.span!({ what: "reads", beginMs: 1, endMs: 3 });
    drafting.span!({ what: "ffn", beginMs: 2, endMs: 4 });
  }
  verifying.stepBegins!(3);
  verifying.span!({ what: "head", beginMs: 0, endMs: 5 });
  const { states, sets, passes, spans } = watch.take();
  expect(passes).toEqual([
    { kind: "draft", rows: 1, beginMs: 0, endMs: 4 },
    { kind: "draft", rows: 1, beginMs: 4, endMs: 8 },
    { kind: "verify", rows: 3, beginMs: 8, endMs: 13 },
  ]);
  expect(spans.at(-1)).toEqual({ what: "head", beginMs: 8, endMs: 13 });
  expect(spans[4]).toEqual({ what: "reads", beginMs: 5, endMs: 7 });
  expect(sets.map(([set]) => [...set!])).toEqual([[0], [1]]);
  expect([...states.subarray(0, 4)]).toEqual([awake, fetched, away, resident]);
});

it("a step that names nothing uses every neuron, and nothing is left of the step before", () => {
  const watch = new StepWatch(FACTS);
  watch.verifying.stepBegins!(1);
  watch.verifying.named!(0, Uint32Array.of(1), holding(), 0);
  watch.take();
  watch.verifying.stepBegins!(1);
  const { states, isNamed, sets, passes } = watch.take();
  expect(new Set(states)).toEqual(new Set([awake]));
  expect({ isNamed, sets, passes: passes.length }).toEqual({ isNamed: false, sets: [], passes: 1 });
});

it("a dense layer of a mixture names no expert, and its place among the sets is kept", () => {
  const watch = new StepWatch(FACTS);
  watch.verifying.stepBegins!(1);
  watch.verifying.named!(1, Uint32Array.of(3, 1), holding(1), 0);
  const { states, sets, isNamed } = watch.take();
  expect(sets.map((layers) => layers.map((set) => [...set]))).toEqual([[[], [3, 1]]]);
  expect([...states]).toEqual([away, away, away, away, away, awake, away, fetched]);
  expect(isNamed).toBe(true);
});
