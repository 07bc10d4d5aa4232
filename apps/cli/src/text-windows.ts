/** The windows of a text that a recording takes. */
import { InputError } from "@flashwick/core";
import { cutWindows, type Model } from "@flashwick/runtime";

/** As flags give it. */
export interface WindowWish {
  /** The text's file, for messages. */
  readonly text: string;
  /** At most, in whole windows. */
  readonly tokens: number;
  readonly windowTokens: number;
}

/** @throws {InputError} `INPUT_INVALID` where there is not one window. */
export function firstWindows(
  { header, tokenizer }: Pick<Model, "header" | "tokenizer">,
  content: string,
  { text, tokens, windowTokens }: WindowWish,
): number[][] {
  const all = cutWindows(tokenizer.encode(content, false), windowTokens, header.geometry.bosTokenId);
  const windows = all.slice(0, Math.floor(tokens / windowTokens));
  if (windows.length > 0) return windows;
  throw new InputError(
    "INPUT_INVALID",
    `${text}: ${all.length} windows of ${windowTokens} tokens, within ${tokens} tokens; expected one at least: ` +
      "give a longer text, a shorter --window-tokens or more --tokens",
  );
}
