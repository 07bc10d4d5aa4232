/**
 * Prompts that begin like a stored one are read instead of computed, and computed prompts are stored; a page at a time, so that running texts wait for
 * one page at most.
 */
import { KV_PAGE_TOKENS } from "@flashwick/core";
import { sha256Hex } from "@flashwick/flash-format";
import type { Sequence } from "../sequence.js";
import type { PrefixStore } from "./prefix-store.js";
import type { ServedText } from "./served-text.js";

/** A prompt whose pages are being stored. */
interface Saving {
  readonly sequence: Sequence;
  readonly prompt: readonly number[];
  readonly keys: readonly string[];
  page: number;
}

export class StoredPrefixes {
  readonly #store: PrefixStore;
  readonly #identity: () => string;
  /** Texts whose prompts are being read, with the keys of all their whole pages. */
  readonly #restoring = new Map<ServedText, readonly string[]>();
  readonly #saving: Saving[] = [];

  /** @param identity What keys and values depend on beside the tokens. */
  constructor(store: PrefixStore, identity: () => string) {
    this.#store = store;
    this.#identity = identity;
  }

  /** Whether pages of the text's prompt are yet to be looked for. */
  isRestoring(text: ServedText): boolean {
    return this.#restoring.has(text);
  }

  /** Looks for the rest of the text's prompt from now on. */
  restore(text: ServedText): void {
    this.#restoring.set(text, pageKeys(this.#identity(), text.prompt));
  }

  /** Stores the pages of a prompt that was computed, as long as its sequence holds them. */
  save(sequence: Sequence, prompt: readonly number[]): void {
    this.#saving.push({ sequence, prompt, keys: pageKeys(this.#identity(), prompt), page: 0 });
  }

  /** Reads one page, and writes one. @returns Whether there was anything to do. */
  async advance(): Promise<boolean> {
    const restoring = this.#restoring.keys().next().value;
    const saving = this.#saving[0];
    if (restoring && !(await this.#restorePage(restoring))) this.#restoring.delete(restoring);
    if (saving && !(await this.#savePage(saving))) this.#saving.shift();
    return restoring !== undefined || saving !== undefined;
  }

  /** @returns Whether the page was there. */
  async #restorePage(text: ServedText): Promise<boolean> {
    const keys = this.#restoring.get(text)!;
    if (text.isOver || text.sequence === null) return false;
    const page = Math.floor(text.sequence.length / KV_PAGE_TOKENS);
    const end = (page + 1) * KV_PAGE_TOKENS;
    // The last token's logits are wanted, so it is computed in any case.
    if (end >= text.prompt.length) return false;
    const { sequence } = text;
    const before = sequence.length;
    const bytes = await this.#store.read(keys[page]!, sequence.engine.pageBytes);
    // The text may end whenever this waits.
    if (bytes === null || sequence.isReleased) return false;
    sequence.rollback(page * KV_PAGE_TOKENS);
    await sequence.reserve(KV_PAGE_TOKENS);
    if (sequence.isReleased) return false;
    sequence.restorePage(text.prompt.slice(page * KV_PAGE_TOKENS, end), bytes);
    text.account.reuse(end - before);
    return true;
  }

  /** @returns Whether there may be more to save. */
  async #savePage(saving: Saving): Promise<boolean> {
    const { keys, page } = saving;
    const key = keys[page];
    if (key === undefined || !holdsPage(saving)) return false;
    saving.page++;
    if (await this.#store.has(key)) return true;
    if (!holdsPage({ ...saving, page })) return false;
    const bytes = await saving.sequence.readPage(page);
    // What was read while the sequence went on to other tokens is not the page.
    if (!holdsPage({ ...saving, page })) return false;
    await this.#store.write(key, bytes);
    return true;
  }
}

function holdsPage({ sequence, prompt, page }: Omit<Saving, "keys">): boolean {
  const end = (page + 1) * KV_PAGE_TOKENS;
  return sequence.promptLength >= end && sequence.sharedLength(prompt) >= end;
}

/** The keys of the whole pages of a prompt, each of which stands for all tokens up to its end. */
export function pageKeys(identity: string, prompt: readonly number[]): string[] {
  const keys: string[] = [];
  for (let end = KV_PAGE_TOKENS; end <= prompt.length; end += KV_PAGE_TOKENS) {
    keys.push(sha256Hex(`${keys.at(-1) ?? identity} ${prompt.slice(end - KV_PAGE_TOKENS, end).join(" ")}`));
  }
  return keys;
}
