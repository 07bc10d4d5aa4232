/** A block whose attention and FFN read the same input: what the FFN needs is named, and begins to fly, before attention. */
import type { FlashReader } from "@flashwick/flash-io";
import { type Kernels, kernelFactory } from "@flashwick/kernels";
import { expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import { ALL_NEURONS } from "./chooser.js";
import { Model } from "./model.js";
import type { ModelOptions } from "./model-options.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import type { TokenSpan } from "./token-meter.js";

const LAYERS = 3;

/** A model that writes down what its reader and its attention are asked to do. */
async function openNoted(name: string, options: ModelOptions, onAttention = () => {}) {
  const events: string[] = [];
  const plain = await openFixture(name);
  const { reader, kernels: make, ...parts } = plain.parts;
  const noted: FlashReader = {
    ...reader,
    start(memory, runs, signal) {
      events.push("read");
      reader.start(memory, runs, signal);
    },
    wait(runCount) {
      events.push("wait");
      return reader.wait(runCount);
    },
  };
  const kernels = kernelFactory((arena): Kernels => {
    const made = make(arena);
    return {
      ...made,
      attention(...operands) {
        events.push("attention");
        onAttention();
        made.attention(...operands);
      },
    };
  }, make);
  const predictor = noisePredictor(plain.header);
  return { model: new Model({ ...parts, reader: noted, kernels, predictor }, options), events };
}

/** The order of events of a decoded token, repetitions left out: what matters is who comes before whom. */
async function eventsOfToken(name: string, options: ModelOptions): Promise<string[]> {
  // A window of one token: every layer reads for every token.
  const { model, events } = await openNoted(name, { windowTokens: 1, ...options });
  await model.withSequence(8, async (sequence) => {
    await sequence.prefill([3, 50, 211]);
    await sequence.decode(7);
    events.length = 0;
    await sequence.decode(499);
  });
  const order = events.filter((event, i) => event !== events[i - 1]);
  await model.close();
  return order;
}

const perLayer = (...events: string[]) => Array.from({ length: LAYERS }, () => events).flat();

it("reads fly during attention, and are waited for after it", async () => {
  expect(await eventsOfToken("falcon-tiny-mqa", {})).toEqual(perLayer("read", "attention", "wait"));
});

it("without overlap nothing flies during attention", async () => {
  expect(await eventsOfToken("falcon-tiny-mqa", { overlap: false })).toEqual(perLayer("attention", "read", "wait"));
});

it("where the FFN reads what attention has changed, its neurons are named after attention", async () => {
  expect(await eventsOfToken("opt-tiny-sharded", {})).toEqual(perLayer("attention", "read", "wait"));
});

it("spans of a decoded token: phases fill its time without a gap, and a flight spans attention", async () => {
  const { model } = await openNoted("falcon-tiny-mqa", { windowTokens: 1 });
  const spans: TokenSpan[] = [];
  const stats = await model.withSequence(8, async (sequence) => {
    await sequence.prefill([3, 50, 211]);
    await sequence.decode(7);
    return (await sequence.decode(499, undefined, { span: (span) => void spans.push(span) })).stats;
  });
  await model.close();
  const phases = spans.filter(({ what }) => what !== "reads");
  expect(phases.length).toBeGreaterThan(LAYERS);
  expect(phases[0]!.beginMs).toBe(0);
  for (const [i, { beginMs }] of phases.slice(1).entries()) expect(beginMs).toBeCloseTo(phases[i]!.endMs, 9);
  expect(phases.at(-1)!.endMs).toBeCloseTo(stats.ms, 9);
  const flights = spans.filter(({ what }) => what === "reads");
  expect(flights).toHaveLength(LAYERS);
  for (const flight of flights) {
    const during = (what: string) =>
      phases.some((phase) => phase.what === what && phase.beginMs >= flight.beginMs && phase.endMs <= flight.endMs);
    expect(during("attention")).toBe(true);
  }
});

it("looking ahead is no guess here, and changes nothing", async () => {
  const expected = perLayer("read", "attention", "wait");
  expect(await eventsOfToken("falcon-tiny-mqa", { lookahead: true })).toEqual(expected);
});

it("a token that fails in attention, with reads in flight, leaves a cache that claims nothing; the next one is right", async () => {
  const logitsAfter = async (breakAt: number) => {
    let calls = 0;
    const { model } = await openNoted("falcon-tiny-mqa", { windowTokens: 1 }, () => {
      if (++calls === breakAt) throw new Error("attention broke");
    });
    const logits = await model.withSequence(8, async (sequence) => {
      await sequence.extend([3, 50, 211], { chooser: ALL_NEURONS });
      if (breakAt > 0) {
        await expect(sequence.decode(7)).rejects.toThrow("attention broke");
        expect(sequence.engine.caches[1]!.numUsed).toBe(0);
        expect(sequence.tokens).toEqual([3, 50, 211]);
      }
      return (await sequence.decode(7)).logits.slice();
    });
    await model.close();
    return logits;
  };
  const secondLayerOfTheToken = LAYERS + 2;
  expect(await logitsAfter(secondLayerOfTheToken)).toEqual(await logitsAfter(0));
});
