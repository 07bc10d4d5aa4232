/** One answer within a soak: whole, or left half-way by whoever asked. */
import type { Random } from "@flashwick/core";
import type { GenerateOptions, Sequence } from "@flashwick/runtime";
import type { CountedModel } from "./counting-reader.js";
import type { SoakLedger } from "./ledger.js";
import { optionsOf, type Story, type Turn } from "./story.js";

/** Who looks after the answers to one model's stories. */
export interface Teller {
  readonly name: string;
  /** Number of the model, for times. */
  readonly number: number;
  readonly counted: CountedModel;
  readonly random: Random;
  readonly ledger: SoakLedger;
  /** Pages of keys and values that are free while nothing runs; null: not known yet. */
  readonly freePages: { value: number | null };
}

/** What is asked, and where. */
export interface Question {
  readonly story: Story;
  readonly turn: Turn;
  readonly expected: readonly number[];
  /** Null: the model's own. */
  readonly sequence: Sequence | null;
  /** Nothing else asks the model meanwhile. */
  readonly isAlone: boolean;
}

const LEFT = new Error("the reader has left");

/** Asks, and reads to the end or leaves. @returns Whether the answer was read whole. */
export async function ask(teller: Teller, question: Question): Promise<boolean> {
  const { random } = teller;
  const leaves = random.below(4) === 0 ? 1 + random.below(question.turn.maxTokens) : Number.POSITIVE_INFINITY;
  const byAbort = random.below(2) === 0;
  const leaving = new AbortController();
  const options = askedFor(teller, question, leaving.signal);
  const read = new ReadAnswer(teller, question, options.speculate !== undefined || question.story.lossless);
  const run = teller.counted.model.generate(question.turn.prompt, options);
  try {
    for (;;) {
      const next = await run.next();
      if (next.done) return read.end(next.value.stats, next.value.tokens);
      read.take(next.value.token, next.value.stats);
      if (read.count < leaves) continue;
      if (!byAbort) break;
      leaving.abort(LEFT);
    }
  } catch (error) {
    if (error !== LEFT) throw error;
  } finally {
    await run.return(undefined as never);
  }
  read.leave(byAbort);
  return false;
}

function askedFor(
  { random, ledger }: Teller,
  { story, turn, sequence }: Question,
  signal: AbortSignal,
): GenerateOptions {
  // A lossless story drafts already.
  const speculate = story.lossless ? undefined : ([undefined, "lookup", "auto"] as const)[random.below(3)];
  if (speculate !== undefined || story.lossless) ledger.count("drafted");
  return { ...optionsOf(story, turn), signal, ...(speculate && { speculate }), ...(sequence && { sequence }) };
}

type Stats = Parameters<SoakLedger["checkToken"]>[1];

/** What has been read of one answer, and what is checked of it. */
class ReadAnswer {
  readonly #teller: Teller;
  readonly #question: Question;
  readonly #drafts: boolean;
  readonly #where: string;
  readonly #before: { readonly reads: number; readonly bytes: number };
  readonly #tokens: number[] = [];
  readonly #stats: Stats[] = [];

  constructor(teller: Teller, question: Question, drafts: boolean) {
    this.#teller = teller;
    this.#question = question;
    this.#drafts = drafts;
    this.#where = `${teller.name}, prompt ${question.turn.prompt.join(" ")}`;
    this.#before = { ...teller.counted.tally };
  }

  get count(): number {
    return this.#tokens.length;
  }

  take(token: number | null, stats: Stats | null): void {
    const { ledger, number } = this.#teller;
    if (token === null) return;
    this.#tokens.push(token);
    ledger.countToken(number);
    if (stats === null) return;
    this.#stats.push(stats);
    ledger.checkToken(this.#where, stats);
    if (!this.#drafts && this.#question.isAlone) ledger.time(number, stats.ms);
  }

  end(stats: Parameters<SoakLedger["checkRun"]>[1], tokens: readonly number[]): boolean {
    const { ledger, counted } = this.#teller;
    ledger.count("whole");
    ledger.checkText(this.#where, tokens, this.#question.expected, true);
    ledger.checkRun(this.#where, stats, this.#stats);
    if (this.#question.isAlone) ledger.checkReads(this.#where, stats, this.#before, counted.tally);
    return true;
  }

  leave(byAbort: boolean): void {
    this.#teller.ledger.count(byAbort ? "aborted" : "left");
    this.#teller.ledger.checkText(this.#where, this.#tokens, this.#question.expected, false);
  }
}
