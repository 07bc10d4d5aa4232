/** Several recordings read as one: what parallel recorders wrote side by side. */
import { assert } from "@flashwick/core";
import type { LayerSampleCounts, LayerSamples } from "./sample-store.js";

/**
 * The samples of `parts`, one after the other.
 *
 * @param parts One layer of one model, at least one part.
 */
export function joinSamples(parts: readonly LayerSamples[]): LayerSamples {
  const [first] = parts;
  assert(first && parts.every(({ layer }) => layer === first.layer), "parts of one layer");
  const sum = (count: keyof LayerSampleCounts) => parts.reduce((total, { counts }) => total + counts[count], 0);
  const counts: LayerSampleCounts = {
    trainTokens: sum("trainTokens"),
    heldOutTokens: sum("heldOutTokens"),
    trainActive: sum("trainActive"),
    heldOutActive: sum("heldOutActive"),
  };
  const { recordBytes } = first.layout;
  /** Calls `read` for each stretch of [begin, begin + count) that lies in one part. */
  const split = (
    key: keyof LayerSampleCounts,
    begin: number,
    count: number,
    read: (part: LayerSamples, first: number, count: number, done: number) => void,
  ) => {
    let at = begin;
    let done = 0;
    for (const part of parts) {
      const size = part.counts[key];
      const n = Math.min(size - at, count - done);
      if (n > 0) {
        read(part, at, n, done);
        done += n;
      }
      at = Math.max(0, at - size);
    }
    assert(done === count, "samples that exist");
  };
  return {
    layer: first.layer,
    layout: first.layout,
    counts,
    readTrain(indices, out) {
      const one = new Uint32Array(1);
      for (let i = 0; i < indices.length; i++) {
        split("trainTokens", indices[i]!, 1, (part, at) => {
          one[0] = at;
          part.readTrain(one, out.subarray(i * recordBytes, (i + 1) * recordBytes));
        });
      }
    },
    readHeldOut(begin, count, out) {
      split("heldOutTokens", begin, count, (part, at, n, done) =>
        part.readHeldOut(at, n, out.subarray(done * recordBytes, (done + n) * recordBytes)),
      );
    },
    readMagnitudes(begin, out) {
      split("heldOutActive", begin, out.length, (part, at, n, done) =>
        part.readMagnitudes(at, out.subarray(done, done + n)),
      );
    },
  };
}
