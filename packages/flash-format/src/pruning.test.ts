/** What a pruned file says of itself: read back, and refused where it cannot be. */
import { isFlashwickError, memorySource } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { prunedGeometry } from "./convert/neuron-pruning.js";
import type { GgufValue } from "./gguf.js";
import { prunedShare } from "./pruning.js";
import { openModelFile } from "./read-model.js";
import { TINY_GEOMETRY, TINY_NEURONS, tinyModelBytes, tinySpec, withEditedHeader } from "./tiny-model.fixture.js";

const KEPT = [Uint32Array.of(1, 2, 6), Uint32Array.of(0, 1, 3, 4, 5)];
const TRACE = "ab".repeat(32);
const spec = (placement = KEPT, traceOf: string | null = null) =>
  tinySpec({
    geometry: prunedGeometry(TINY_GEOMETRY, { kept: KEPT }),
    placement,
    pruned: { neurons: [TINY_NEURONS, TINY_NEURONS], trace: TRACE, traceOf },
  });
const headerOf = async (bytes: Uint8Array) => (await openModelFile(memorySource(bytes, "pruned.gguf"))).header;
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (error) => (isFlashwickError(error) ? error.code : Promise.reject(error)),
  );

describe("a pruned model file", () => {
  it("says what was left out, and of which model: the one that has the fingerprint of all neurons", async () => {
    const whole = await headerOf(await tinyModelBytes());
    const { pruned, geometry, fingerprint, placement } = await headerOf(await tinyModelBytes(spec()));
    expect(geometry.layers.map(({ ffn }) => ffn.dFf)).toEqual([3, 5]);
    expect(pruned).toEqual({ neurons: [7, 7], trace: TRACE, from: whole.fingerprint });
    expect(fingerprint).not.toBe(whole.fingerprint);
    expect(placement!.map(({ sizeBytes }) => sizeBytes)).toEqual([12, 20]);
    expect(prunedShare(pruned!, geometry)).toBeCloseTo(6 / 14);
    expect("pruned" in whole).toBe(false);
  });

  it("has another fingerprint for other neurons", async () => {
    const others = [Uint32Array.of(1, 2, 5), KEPT[1]!];
    const [a, b] = [await headerOf(await tinyModelBytes(spec())), await headerOf(await tinyModelBytes(spec(others)))];
    expect(a.fingerprint).not.toBe(b.fingerprint);
    expect(a.pruned).toEqual(b.pruned);
  });

  it.each([
    ["a neuron twice", [Uint32Array.of(1, 1, 6), KEPT[1]!]],
    ["a neuron that the checkpoint has not", [Uint32Array.of(1, 2, 7), KEPT[1]!]],
    ["too few", [Uint32Array.of(1, 2), KEPT[1]!]],
  ])("is not written with %s", async (_, placement) => {
    expect(await codeOf(tinyModelBytes(spec(placement)))).toBe("INPUT_INVALID");
  });

  it("is not written by the trace of another model", async () => {
    const { fingerprint } = await headerOf(await tinyModelBytes());
    expect(await codeOf(tinyModelBytes(spec(KEPT, fingerprint)))).toBe("none");
    expect(await codeOf(tinyModelBytes(spec(KEPT, TRACE)))).toBe("INTEGRITY_FINGERPRINT");
  });

  const text = (value: string): GgufValue => ({ type: "string", value });
  const u32s = (...value: number[]): GgufValue => ({ type: "array", of: "u32", value: Uint32Array.from(value) });
  it.each<[string, GgufValue | null, string]>([
    ["flashwick.pruned.neurons", u32s(7), "FORMAT_INVALID"],
    ["flashwick.pruned.neurons", u32s(7, 4), "FORMAT_INVALID"],
    ["flashwick.pruned.neurons", text("7"), "FORMAT_INVALID"],
    ["flashwick.pruned.trace", text("AB"), "FORMAT_INVALID"],
    ["flashwick.pruned.trace", null, "FORMAT_MISSING"],
    ["flashwick.pruned.from", text("z".repeat(64)), "FORMAT_INVALID"],
    ["flashwick.pruned.from", null, "FORMAT_MISSING"],
  ])("is refused for %s = %o, though its checksum is right", async (key, value, code) => {
    const bytes = withEditedHeader(await tinyModelBytes(spec()), ({ metadata }) => {
      if (value) metadata.set(key, value);
      else metadata.delete(key);
    });
    expect(await codeOf(headerOf(bytes))).toBe(code);
  });

  it("is refused without a table of the neurons that stay", async () => {
    const bytes = withEditedHeader(await tinyModelBytes(), ({ metadata }) => {
      metadata.set("flashwick.pruned.neurons", u32s(7, 7));
      metadata.set("flashwick.pruned.trace", text(TRACE));
      metadata.set("flashwick.pruned.from", text(TRACE));
    });
    expect(await codeOf(headerOf(bytes))).toBe("FORMAT_INVALID");
  });
});
