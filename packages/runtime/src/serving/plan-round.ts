/**
 * Which tokens are computed next, of texts that run and of prompts that join them. Pure.
 *
 * A round gives every running text one token, and prompts one batch: however long a prompt is, it delays the others by one batch at a time. After
 * nano-vllm's scheduler and vLLM's chunked prefill.
 */

/** A prompt that is not computed yet, or in part. */
export interface PromptLeft<T> {
  readonly text: T;
  /** Tokens that are to be computed, at least one. */
  readonly tokens: number;
}

export interface RoundStep<T> {
  /** `prompt` and `decode` name different sets of neurons. A `prompt` step may decode as well where both are the same. */
  readonly as: "prompt" | "decode";
  /** How many tokens of which text. */
  readonly parts: readonly PromptLeft<T>[];
}

export interface RoundLimits {
  /** Tokens of the widest step. */
  readonly batchTokens: number;
  /** Whether prompts are computed as running texts are, so that one step may hold both. */
  readonly mixes: boolean;
}

/**
 * @param prompts First come first. @param running Texts of which one token is to be computed each.
 * @returns Steps of at most `batchTokens` tokens, prompts before running texts.
 */
export function planRound<T>(
  prompts: readonly PromptLeft<T>[],
  running: readonly T[],
  { batchTokens, mixes }: RoundLimits,
): RoundStep<T>[] {
  const ones = running.map((text) => ({ text, tokens: 1 }));
  // Where running texts take most of a batch, prompts would join by a few tokens at a time, and each step reads the model.
  if (mixes && prompts.length > 0 && 2 * ones.length <= batchTokens) {
    return [{ as: "prompt", parts: [...firstTokens(prompts, batchTokens - ones.length), ...ones] }];
  }
  const steps: RoundStep<T>[] = [];
  if (prompts.length > 0) steps.push({ as: "prompt", parts: firstTokens(prompts, batchTokens) });
  for (let at = 0; at < ones.length; at += batchTokens) {
    steps.push({ as: "decode", parts: ones.slice(at, at + batchTokens) });
  }
  return steps;
}

/** As many tokens as there is room for, of the first prompt first. */
function firstTokens<T>(prompts: readonly PromptLeft<T>[], room: number): PromptLeft<T>[] {
  const parts: PromptLeft<T>[] = [];
  for (const { text, tokens } of prompts) {
    if (room === 0) break;
    const taken = Math.min(tokens, room);
    parts.push({ text, tokens: taken });
    room -= taken;
  }
  return parts;
}
