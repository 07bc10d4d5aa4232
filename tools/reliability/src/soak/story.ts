/** What is asked of a model in a soak: stories, each with a beginning and two ways in which it goes on; made from a seed. */
import type { Random } from "@flashwick/core";
import type { GenerateOptions, Model } from "@flashwick/runtime";

/** A prompt and how it is answered. */
export interface Turn {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number;
}

/** A beginning, and what two forks of its sequence go on with. */
export interface Story {
  readonly beginning: Turn;
  readonly ends: readonly [Turn, Turn];
  /** The dense model's text, drafted by the sparse path: of models with a predictor. */
  readonly lossless: boolean;
}

/** The tokens that a story comes to when nothing runs beside it. */
export interface Told {
  readonly beginning: readonly number[];
  readonly ends: readonly [readonly number[], readonly number[]];
}

/** Together they fit the context: a beginning, an end, and what both are answered with. */
const MOST_PROMPT_TOKENS = 24;
const MOST_ANSWER_TOKENS = 32;
/** Half of the stories begin alike, so that prefixes are shared. */
const COMMON_TOKENS = 12;

/**
 * @param text      Tokens that prompts are cut from.
 * @param isPredicted Whether stories may be lossless.
 */
export function makeStories(text: readonly number[], count: number, isPredicted: boolean, random: Random): Story[] {
  const cut = (tokens: number) => {
    const at = random.below(text.length - tokens);
    return text.slice(at, at + tokens);
  };
  const turn = (common: readonly number[]): Turn => ({
    prompt: [...common, ...cut(1 + random.below(MOST_PROMPT_TOKENS - common.length))],
    maxTokens: 1 + random.below(MOST_ANSWER_TOKENS),
    temperature: random.below(3) === 0 ? 0 : 1,
    seed: random.next(),
  });
  const common = cut(COMMON_TOKENS);
  return Array.from({ length: count }, (_, index) => ({
    beginning: turn(index % 2 === 0 ? common : []),
    ends: [turn([]), turn([])],
    lossless: isPredicted && index % 4 === 3,
  }));
}

/** How a turn is asked for. */
export function optionsOf({ lossless }: Story, { maxTokens, temperature, seed }: Turn): GenerateOptions {
  return { maxTokens, temperature, seed, ignoreEos: true, ...(lossless && { lossless }) };
}

/** Tells stories one by one, each end on a sequence of its own that is told the beginning anew, in a model that does nothing else. */
export async function tellAlone(model: Model, stories: readonly Story[]): Promise<Told[]> {
  const told: Told[] = [];
  for (const story of stories) {
    const [first, second] = story.ends;
    const { beginning, end } = await tellEnd(model, story, first);
    told.push({ beginning, ends: [end, (await tellEnd(model, story, second)).end] });
  }
  return told;
}

async function tellEnd(model: Model, story: Story, last: Turn) {
  const sequence = await model.openSequence();
  const answer = async (turn: Turn) => {
    const run = model.generate(turn.prompt, { ...optionsOf(story, turn), sequence });
    for (;;) {
      const next = await run.next();
      if (next.done) return next.value.tokens;
    }
  };
  try {
    return { beginning: await answer(story.beginning), end: await answer(last) };
  } finally {
    sequence.release();
  }
}
