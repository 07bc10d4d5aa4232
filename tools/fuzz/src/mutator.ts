/** How the inputs of a harness are made: by its form, one way or the other by chance. */
import type { Random } from "@flashwick/core";
import type { Harness } from "./harness.js";
import { ByteMutator } from "./mutate-bytes.js";
import { GgufMutator } from "./mutate-gguf.js";
import { JsonMutator } from "./mutate-json.js";

/** Makes an input from one that is kept, and perhaps parts of another. @returns Valid until the next call. */
export type Mutate = (parent: Uint8Array, other: Uint8Array) => Uint8Array;

/** Of ten inputs, so many are changed in their form, the others as bytes. */
const IN_FORM = 7;
/** Of a hundred, so many are invented where a harness can. */
const INVENTED = 25;

/** @param random Decides everything. */
export function createMutator(harness: Harness, random: Random): Mutate {
  const { form, words, maxBytes } = harness;
  const bytes = new ByteMutator(random, words, maxBytes);
  const inForm =
    form === "json" ? new JsonMutator(random, words) : form === "gguf" ? new GgufMutator(random, words) : null;
  return (parent, other) => {
    if (harness.invent && random.below(100) < INVENTED) return harness.invent(random);
    const made = inForm && random.below(10) < IN_FORM ? inForm.mutate(parent, other) : null;
    return made ?? bytes.mutate(parent, other);
  };
}
