/**
 * Decoding a text that is given: the sampler answers with its next token whatever the logits are. So a draft is accepted where the text copies, and
 * all costs are real.
 */
import { SpeculationMeter } from "@flashwick/cost-model";
import { LookupDrafter } from "@flashwick/runtime";
import { PlainDecoder, SpeculativeDecoder, TokenSelector } from "@flashwick/runtime/engine";

/**
 * @param sequence  That holds the prompt.
 * @param next  Its tokens; the first is what the prompt's own logits are taken for.
 * @param count  Of them, how many are there in the end.
 * @param drafting  `lookup` drafts whenever the text offers something, `auto` while it pays.
 * @returns {Promise<{ ms: number, tokens: number, drafted: number }[]>}  Each step.
 */
export async function decodeGiven(sequence, next, count, drafting) {
  const { chooser } = sequence.engine;
  const selector = new TokenSelector((_, index) => next[index]);
  const decoder =
    drafting === "off"
      ? new PlainDecoder(sequence, chooser, selector, undefined, undefined)
      : new SpeculativeDecoder({
          ...{ sequence, chooser, selector, meter: new SpeculationMeter(), drafter: new LookupDrafter() },
          ...{ draftTokens: null, leastDraftTokens: drafting === "lookup" ? 1 : 0 },
        });
  const steps = [];
  for (let done = 1; done < count; ) {
    const begin = performance.now();
    const { tokens, drafts } = await decoder.step(next[done - 1], done, count - done - 1);
    steps.push({ ms: performance.now() - begin, tokens: tokens.length, drafted: drafts.length });
    done += tokens.length;
  }
  return steps;
}
