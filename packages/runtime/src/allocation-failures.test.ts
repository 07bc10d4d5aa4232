/** Memory that the platform refuses, at every place where it is asked for: a typed error, nothing held, and the same bits afterwards. */
import { isFlashwickError } from "@flashwick/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type FixtureOptions, ggufBytes, modelBytes, openModelBytes } from "./checkpoint.fixture.js";
import { Model } from "./model.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import { watchArenas } from "./watched-arenas.fixture.js";

afterEach(() => vi.unstubAllGlobals());

const TOKENS = [2, 30, 45, 7, 49, 12];
/** Elements from which an array counts as an allocation: what is smaller comes from the heap. */
const LEAST_ELEMENTS = 64;
const ARRAYS = { Uint8Array, Uint32Array, Float32Array, Float64Array, Int32Array };

/** Refuses the `n`-th memory or array that is asked for during `work`. @returns How many were asked for. */
async function refusing(n: number, work: () => Promise<unknown>): Promise<number> {
  let asked = 0;
  const refuse = (message: string) => {
    if (++asked === n) throw new RangeError(message);
  };
  for (const [name, Real] of Object.entries(ARRAYS)) {
    const construct = (target: typeof Real, operands: [number]) => {
      if (typeof operands[0] === "number" && operands[0] >= LEAST_ELEMENTS) refuse("Array buffer allocation failed");
      return Reflect.construct(target, operands) as object;
    };
    vi.stubGlobal(name, new Proxy(Real, { construct }));
  }
  const Memory = new Proxy(WebAssembly.Memory, {
    construct(target, operands) {
      refuse("WebAssembly.Memory(): could not allocate memory");
      return Reflect.construct(target, operands) as object;
    },
  });
  vi.stubGlobal(
    "WebAssembly",
    new Proxy(WebAssembly, { get: (of, name) => (name === "Memory" ? Memory : Reflect.get(of, name)) }),
  );
  try {
    await work();
  } finally {
    vi.unstubAllGlobals();
  }
  return asked;
}

async function openWatched(name: string, maxArenaBytes: number, options: FixtureOptions = {}) {
  const isGguf = name.endsWith(".gguf");
  const bytes = isGguf ? ggufBytes(name.slice(0, -5)) : await modelBytes(name, "f16");
  const { parts } = await openModelBytes(bytes, name);
  const predictor = isGguf ? null : noisePredictor(parts.file.header);
  const watched = watchArenas({ ...parts, predictor, maxArenaBytes });
  const model = new Model(watched.parts, { contextTokens: 32, kvPrecision: "f16", ...options });
  return { model, watched };
}

async function typedError(work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error === null || !isFlashwickError(error))
    throw new Error(`no typed error but ${String(error)}`, { cause: error });
}

/** With arenas that hold a layer or two. */
describe.each([
  ["opt-tiny-sharded", 900_000],
  ["llama.gguf", 3_000_000],
  ["olmoe.gguf", 3_200_000],
])("%s", (name, maxArenaBytes) => {
  async function logitsOf(model: Model): Promise<Float32Array> {
    return await model.withSequence(TOKENS.length, async (sequence) => (await sequence.prefill(TOKENS)).logits);
  }

  it("is not loaded, whichever allocation is refused, holds nothing then, and is loaded when memory is there again", async () => {
    const { model: first } = await openWatched(name, maxArenaBytes);
    // Once before it counts: what is compiled, and tables of the kernels, are made only once.
    await logitsOf(first);
    await first.unload();
    let expected = new Float32Array(0);
    const asked = await refusing(0, async () => {
      expected = (await logitsOf(first)) as Float32Array<ArrayBuffer>;
    });
    await first.close();
    expect(asked).toBeGreaterThan(3);
    for (let n = 1; n <= asked; n++) {
      const { model, watched } = await openWatched(name, maxArenaBytes);
      await refusing(n, () => typedError(logitsOf(model)));
      // Of a load that failed nothing is left; a step that failed keeps its engine.
      const held = watched.held();
      expect(await logitsOf(model)).toEqual(expected);
      await model.close();
      expect([held === 0 || held === watched.made(), watched.held()], `allocation ${n}`).toEqual([true, 0]);
    }
  });

  it("decodes a token without an array being made", async () => {
    const { model } = await openWatched(name, maxArenaBytes);
    await model.withSequence(16, async (sequence) => {
      await sequence.prefill(TOKENS);
      expect(await refusing(0, () => sequence.decode(9))).toBe(0);
    });
    await model.close();
  });
});
