/**
 * Calls of tools in the text of an answer, by the convention of Hermes and Qwen: each is `<tool_call>{"name": …, "arguments": {…}}</tool_call>`. A
 * template that follows another convention gets its calls as text.
 */

const OPENING = "<tool_call>";
const CLOSING = "</tool_call>";

export interface ToolCall {
  readonly name: string;
  /** JSON. */
  readonly arguments: string;
}

/** Whether the model of this template writes calls so. */
export function writesToolCalls(templateSource: string): boolean {
  return templateSource.includes(OPENING);
}

/** Separates a text, as it comes, from the calls at its end. What was handed out is never taken back. */
export class ToolCallReader {
  /** Text that may begin a call, then the calls. */
  #held = "";

  /** The text that is certainly no call. */
  push(text: string): string {
    this.#held += text;
    const at = this.#held.indexOf(OPENING);
    const free = at >= 0 ? at : this.#held.length - overlap(this.#held);
    const out = this.#held.slice(0, free);
    this.#held = this.#held.slice(free);
    return out;
  }

  /** The calls, when no more text comes. What cannot be read as calls is text. */
  end(): { readonly text: string; readonly calls: readonly ToolCall[] } {
    const blocks = this.#held.split(OPENING).slice(1);
    const calls = blocks.map((block) => readCall(block.split(CLOSING)[0]!));
    if (calls.length === 0 || calls.includes(null)) return { text: this.#held, calls: [] };
    return { text: "", calls: calls.filter((call) => call !== null) };
  }
}

function readCall(json: string): ToolCall | null {
  try {
    const call: unknown = JSON.parse(json);
    if (typeof call !== "object" || call === null || !("name" in call) || typeof call.name !== "string") return null;
    return { name: call.name, arguments: JSON.stringify("arguments" in call ? call.arguments : {}) };
  } catch {
    return null;
  }
}

/** Length of the longest end of `text` that begins a call. */
function overlap(text: string): number {
  for (let n = Math.min(OPENING.length - 1, text.length); n > 0; n--) if (text.endsWith(OPENING.slice(0, n))) return n;
  return 0;
}
