/** Tokens as log probabilities name them: the text of each, its bytes and how likely it was. */
import type { TextTokenizer, TokenLogprob } from "@flashwick/runtime";

interface NamedToken {
  readonly token: string;
  readonly logprob: number;
  /** UTF-8 of the text; null where the token is a part of a character, or none. */
  readonly bytes: readonly number[] | null;
}

/** A token of an answer, and the likeliest ones in its place. */
export interface NamedLogprob extends NamedToken {
  readonly top_logprobs: readonly NamedToken[];
}

/** JSON has no infinity: a token that could not come has the log probability that OpenAI gives to the least likely. */
const LEAST_LOGPROB = -9999;

export function nameLogprob(tokenizer: TextTokenizer, { token, logprob, top }: TokenLogprob): NamedLogprob {
  const named = nameToken(tokenizer, token, logprob);
  return { ...named, top_logprobs: top.map((one) => nameToken(tokenizer, one.token, one.logprob)) };
}

function nameToken(tokenizer: TextTokenizer, id: number, logprob: number): NamedToken {
  const token = tokenizer.decode([id], { special: true, continues: true });
  const bytes = token.includes("\ufffd") ? null : [...new TextEncoder().encode(token)];
  return { token, logprob: Math.max(logprob, LEAST_LOGPROB), bytes };
}
