/**
 * Prompt lookup: what followed the last time that the text ended like this. Costs nothing, and is right where a text copies from itself.
 *
 * After apoorvumang/prompt-lookup-decoding: the longest of the last n tokens that occurred before, most recent occurrence first.
 */
import { type Draft, type DraftContext, type Drafter, NO_DRAFT } from "./drafter.js";

/** Lengths of the ends that are looked up, longest first: shorter ones match by chance. */
const LONGEST_MATCH_TOKENS = 8;
const SHORTEST_MATCH_TOKENS = 3;

/** Proposes what followed when the text last ended like this. */
export class LookupDrafter implements Drafter {
  readonly name = "lookup";

  async propose({ sequence, pending }: DraftContext, most: number): Promise<Draft> {
    const tokens = lookUp([...sequence.tokens, pending], most);
    return tokens.length === 0 ? NO_DRAFT : { tokens, costs: [] };
  }

  async close(): Promise<void> {}
}

/**
 * The tokens that followed the most recent earlier occurrence of the text's end.
 *
 * Cost: O(text) for each length tried, which is microseconds beside a step.
 */
export function lookUp(text: readonly number[], most: number): readonly number[] {
  const longest = Math.min(LONGEST_MATCH_TOKENS, text.length - 1);
  for (let length = longest; length >= SHORTEST_MATCH_TOKENS; length--) {
    const end = text.length - length;
    for (let at = end - 1; at >= 0; at--) {
      if (matches(text, at, end, length)) return text.slice(at + length, at + length + most);
    }
  }
  return [];
}

function matches(text: readonly number[], a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (text[a + i] !== text[b + i]) return false;
  return true;
}
