/** The texts of one request, from the scheduler to the pieces that a client reads. */
import { eventLoopTurn } from "@flashwick/core";
import type { ServedToken, TextScheduler } from "@flashwick/runtime";
import { type FinishedText, isVisible, type RunEvent, type Usage } from "./answer-form.js";
import { badRequest } from "./api-error.js";
import { mergeTexts, type TextEvent } from "./merged-texts.js";
import type { ServedModel } from "./served-model.js";
import type { ServerMetrics } from "./server-metrics.js";
import type { GrammarSource, TextGrammar } from "./text-grammar.js";
import type { TextOrder } from "./text-order.js";
import { type NamedLogprob, nameLogprob } from "./token-text.js";
import { ToolCallReader } from "./tool-calls.js";

/** What a run needs, the same for every request. */
export interface TextRunner {
  readonly served: ServedModel;
  readonly scheduler: Pick<TextScheduler, "generate" | "load">;
  /** Null: no grammar can be worked out for this model. */
  readonly grammars: GrammarSource | null;
  readonly metrics: ServerMetrics;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  /** Since 1970. */
  readonly nowSeconds: () => number;
}

export class TextRun {
  readonly #runner: TextRunner;
  readonly #order: TextOrder;
  readonly #grammars: readonly TextGrammar[];
  readonly #readers: readonly (ToolCallReader | null)[];
  readonly #events: AsyncGenerator<TextEvent, void>;
  readonly #startMs: number;
  readonly #ending = new AbortController();
  /** Asked for when the run starts, so that a refusal is known before anything is answered. */
  readonly #first: Promise<IteratorResult<TextEvent, void>>;
  /** Texts whose first token has come. */
  readonly #begun = new Set<number>();
  /** Tokens generated and reused, of all texts. */
  #tokens = 0;
  #reused = 0;

  private constructor(
    runner: TextRunner,
    order: TextOrder,
    grammars: readonly TextGrammar[],
    readsCalls: boolean,
    signal: AbortSignal,
  ) {
    this.#runner = runner;
    this.#order = order;
    this.#grammars = grammars;
    this.#readers = order.texts.map(() => (readsCalls ? new ToolCallReader() : null));
    this.#startMs = runner.clock();
    const all = AbortSignal.any([signal, this.#ending.signal, ...grammars.map(({ failed }) => failed)]);
    const texts = order.texts.map((text, index) =>
      runner.scheduler.generate({ ...text, signal: all, ...(grammars[index] && { constraint: grammars[index] }) }),
    );
    this.#events = mergeTexts(texts, () => this.#ending.abort(), runner.clock);
    this.#first = this.#events.next();
    this.#first.catch(() => {});
  }

  /**
   * Asks the scheduler for every text of the order.
   *
   * @param readsCalls Whether calls of tools are taken out of the texts.
   * @throws {ApiError} 400 for a schema that is not to be met. What the scheduler refuses with at once.
   */
  static async start(runner: TextRunner, order: TextOrder, readsCalls: boolean, signal: AbortSignal): Promise<TextRun> {
    const grammars = await openGrammars(runner, order, signal);
    const run = new TextRun(runner, order, grammars, readsCalls, signal);
    try {
      // A full queue says so at once; anything else may take its time.
      await Promise.race([run.#first, eventLoopTurn()]);
      return run;
    } catch (error) {
      await run.end();
      throw error;
    }
  }

  /** Of the tokens so far. */
  get usage(): Usage {
    const { promptTokens } = this.#order;
    return {
      prompt_tokens: promptTokens,
      completion_tokens: this.#tokens,
      total_tokens: promptTokens + this.#tokens,
      prompt_tokens_details: { cached_tokens: Math.min(this.#reused, promptTokens) },
    };
  }

  /** Pieces as they come, and the end of each text. Stopping early ends all texts. */
  async *events(): AsyncGenerator<RunEvent, void> {
    try {
      let step = await this.#first;
      while (!step.done) {
        yield* this.#read(step.value);
        step = await this.#events.next();
      }
    } finally {
      await this.end();
    }
  }

  /** All texts, when they are complete. */
  async finish(): Promise<readonly FinishedText[]> {
    const texts = this.#order.texts.map(() => ({ text: "", logprobs: [] as NamedLogprob[] }));
    const ends = new Map<number, Pick<FinishedText, "calls" | "finishReason">>();
    for await (const event of this.events()) {
      if ("piece" in event) {
        texts[event.index]!.text += event.piece.text;
        texts[event.index]!.logprobs.push(...event.piece.logprobs);
      } else ends.set(event.index, event);
    }
    return texts.map((text, index) => ({ ...text, ...ends.get(index)! }));
  }

  /** Ends texts that are not complete, and gives their grammars back. Safe to call twice. */
  async end(): Promise<void> {
    this.#ending.abort();
    await this.#events.return();
    for (const grammar of this.#grammars) grammar.release();
  }

  *#read(event: TextEvent): Generator<RunEvent> {
    const { index } = event;
    if ("token" in event) {
      this.#count(event);
      yield* this.#pieceOf(index, event.token);
      return;
    }
    const { summary } = event;
    this.#reused += summary.reusedTokens;
    this.#runner.metrics.countText(summary);
    const { text, calls } = this.#readers[index]?.end() ?? { text: "", calls: [] };
    if (text !== "") yield { index, piece: { text, logprobs: [] } };
    yield { index, calls, finishReason: summary.finishReason };
  }

  *#pieceOf(index: number, token: ServedToken): Generator<RunEvent> {
    if (!isVisible(token)) return;
    const text = this.#readers[index]?.push(token.text) ?? token.text;
    const logprobs = token.logprob === null ? [] : [nameLogprob(this.#runner.served.tokenizer, token.logprob)];
    if (text !== "" || logprobs.length > 0) yield { index, piece: { text, logprobs } };
  }

  #count({ index, token, waitedMs }: Extract<TextEvent, { token: ServedToken }>): void {
    if (token.token === null) return;
    this.#tokens++;
    const isFirst = !this.#begun.has(index);
    this.#begun.add(index);
    const { clock, metrics } = this.#runner;
    metrics.countToken(isFirst, isFirst ? clock() - this.#startMs : waitedMs);
  }
}

async function openGrammars(
  { grammars }: TextRunner,
  { schema, texts }: TextOrder,
  signal: AbortSignal,
): Promise<readonly TextGrammar[]> {
  if (schema === null) return [];
  if (grammars !== null) return await grammars.open(schema, texts.length, signal);
  throw badRequest(
    "answers of this model cannot be held to a schema: its tokenizer is of another kind; leave the field out",
    "no_grammar",
    "response_format",
  );
}
