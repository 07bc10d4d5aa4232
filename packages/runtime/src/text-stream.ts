/**
 * Tokens to text as they come, after a prompt. A character may span tokens and a stop text may span pieces, so text is held back while it
 * could still change: nothing that was handed out is ever taken back.
 */
import type { TextTokenizer } from "./text-tokenizer.js";

/** Turns tokens into text as they come, and stops at given texts. */
export class TextStream {
  readonly #tokenizer: TextTokenizer;
  readonly #stops: readonly string[];
  /** Tokens whose text is not complete yet, after the ones that only give context. */
  #context: number[] = [];
  #pending: number[] = [];
  #held = "";
  #stopped = false;

  /** @param stops Texts that end the generation; they are not handed out. */
  constructor(tokenizer: TextTokenizer, stops: readonly string[] = []) {
    this.#tokenizer = tokenizer;
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** Whether a stop text has come. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The text that token `token` completes; often one piece, sometimes none. */
  push(token: number): string {
    this.#pending.push(token);
    const before = this.#decode(this.#context);
    let text = this.#decode([...this.#context, ...this.#pending]);
    // U+FFFD at the end: bytes of an unfinished character. Four tokens hold any character; more are truly invalid.
    if (text.endsWith("\ufffd") && this.#pending.length < 4) return "";
    const begun = text.endsWith("\ufffd") ? this.#begunTokens(text) : 0;
    if (begun > 0) text = text.slice(0, -1);
    this.#context = this.#pending.slice(0, this.#pending.length - begun);
    this.#pending = this.#pending.slice(this.#pending.length - begun);
    return this.#release(text.slice(before.length));
  }

  /** What is left when no more tokens come. */
  end(): string {
    if (this.#stopped) return "";
    const before = this.#decode(this.#context);
    const rest = this.#decode([...this.#context, ...this.#pending]).slice(before.length);
    this.#pending = [];
    const out = this.#release(rest) + (this.#stopped ? "" : this.#held);
    this.#held = "";
    return out;
  }

  /** How many tokens at the end, fewer than all that are pending, may begin a character of their own: `text` is what stands before, and its U+FFFD. */
  #begunTokens(text: string): number {
    const tokens = [...this.#context, ...this.#pending];
    for (let count = 1; count < Math.min(4, this.#pending.length); count++) {
      const begun = this.#decode(tokens.slice(-count));
      if (begun === "\ufffd" && this.#decode(tokens.slice(0, -count)) + begun === text) return count;
    }
    return 0;
  }

  #decode(tokens: readonly number[]): string {
    return this.#tokenizer.decode(tokens, { continues: true });
  }

  #release(more: string): string {
    const text = this.#held + more;
    const hits = this.#stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (hits.length > 0) {
      this.#stopped = true;
      this.#held = "";
      return text.slice(0, Math.min(...hits));
    }
    const keep = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(stop.length - 1, text.length); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
