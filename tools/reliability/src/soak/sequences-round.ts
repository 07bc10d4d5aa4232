/** A round of one model with sequences of the caller's own: opened, forked, rolled back and released at random, several at once. */
import { isFlashwickError } from "@flashwick/core";
import type { Sequence } from "@flashwick/runtime";
import { MAX_SEQUENCES } from "./soak-models.js";
import type { Story, Told } from "./story.js";
import { ask, type Question, type Teller } from "./visit.js";

/** A story that is being told on a sequence. */
interface Telling {
  readonly number: number;
  readonly sequence: Sequence;
  /** Which end it goes on with. */
  readonly end: 0 | 1;
  hasBegun: boolean;
  isBusy: boolean;
}

/** Of ten steps, those that ask two sequences at once, and those that give one up. */
const TOGETHER_IN_TEN = 2;
const GIVEN_UP_IN_TEN = 1;

export class SequencesRound {
  readonly #teller: Teller;
  readonly #stories: readonly Story[];
  readonly #told: readonly Told[];
  readonly #open: Telling[] = [];

  constructor(teller: Teller, stories: readonly Story[], told: readonly Told[]) {
    this.#teller = teller;
    this.#stories = stories;
    this.#told = told;
  }

  /** Goes on until so many tokens have come, then releases everything. */
  async run(tokens: number): Promise<void> {
    const { ledger, number } = this.#teller;
    const until = ledger.tokensOf(number) + tokens;
    while (ledger.tokensOf(number) < until) await this.#step();
    for (const telling of [...this.#open]) this.#release(telling);
    await this.#checkNothingHeld();
  }

  async #step(): Promise<void> {
    const { random } = this.#teller;
    const hasRoom = this.#open.length < MAX_SEQUENCES;
    if (hasRoom && random.below(10) < 4) return await this.#openOne();
    if (hasRoom && random.below(10) < 2) return await this.#askOwn();
    const first = this.#some();
    if (!first) return;
    if (random.below(10) < GIVEN_UP_IN_TEN) return this.#release(first);
    first.isBusy = true;
    const second = random.below(10) < TOGETHER_IN_TEN ? this.#some() : undefined;
    if (second) second.isBusy = true;
    await Promise.all([first, ...(second ? [second] : [])].map((one) => this.#tell(one, second === undefined)));
  }

  #some(): Telling | undefined {
    const idle = this.#open.filter(({ isBusy }) => !isBusy);
    return idle[this.#teller.random.below(Math.max(1, idle.length))];
  }

  async #openOne(): Promise<void> {
    const { random, counted, ledger } = this.#teller;
    const sequence = await counted.model.openSequence();
    ledger.count("opened");
    this.#open.push({
      ...{ number: random.below(this.#stories.length), sequence, end: random.below(2) === 0 ? 0 : 1 },
      ...{ hasBegun: false, isBusy: false },
    });
  }

  /** On the model's own sequence, which reuses what it was asked before. */
  async #askOwn(): Promise<void> {
    const number = this.#teller.random.below(this.#stories.length);
    await ask(this.#teller, { ...this.#beginning(number), sequence: null, isAlone: true });
  }

  async #tell(telling: Telling, isAlone: boolean): Promise<void> {
    const { number, sequence, end, hasBegun } = telling;
    const story = this.#stories[number]!;
    const question = hasBegun
      ? { story, turn: story.ends[end], expected: this.#told[number]!.ends[end] }
      : this.#beginning(number);
    const isWhole = await ask(this.#teller, { ...question, sequence, isAlone });
    telling.isBusy = false;
    if (hasBegun) return this.#release(telling);
    if (isWhole) return this.#goOn(telling);
    this.#teller.ledger.count("rolled back");
    sequence.rollback(0);
  }

  /** After its beginning a story may be told to both of its ends. */
  #goOn(telling: Telling): void {
    telling.hasBegun = true;
    if (this.#open.length === MAX_SEQUENCES || this.#teller.random.below(2) === 0) return;
    const { number, sequence, end } = telling;
    const fork = forked(sequence);
    if (fork === null) return;
    this.#teller.ledger.count("forked");
    this.#open.push({ number, sequence: fork, end: end === 0 ? 1 : 0, hasBegun: true, isBusy: false });
  }

  #beginning(number: number): Pick<Question, "story" | "turn" | "expected"> {
    const story = this.#stories[number]!;
    return { story, turn: story.beginning, expected: this.#told[number]!.beginning };
  }

  #release(telling: Telling): void {
    this.#open.splice(this.#open.indexOf(telling), 1);
    telling.sequence.release();
  }

  /** Pages and tables of keys and values are free again, but for those of one sequence that has none yet. */
  async #checkNothingHeld(): Promise<void> {
    const { counted, ledger, name } = this.#teller;
    const sequences: Sequence[] = [];
    // With as many as there may be, the model's own has made room.
    for (let i = 0; i < MAX_SEQUENCES; i++) sequences.push(await counted.model.openSequence());
    const { pool } = sequences[0]!.engine;
    const held = sequences.length - pool.openTables;
    const pages = pool.freePages;
    for (const sequence of sequences) sequence.release();
    if (held !== 0 || pages !== pool.freePages) ledger.fault(`${name}: sequences are held that nobody has`);
    const known = this.#teller.freePages.value;
    if (known !== null && known !== pages) ledger.fault(`${name}: ${pages} pages are free, before it were ${known}`);
    this.#teller.freePages.value = pages;
  }
}

/** Null where the model's own sequence has the last place: only `openSequence` waits for its turn to take it. */
function forked(sequence: Sequence): Sequence | null {
  try {
    return sequence.fork();
  } catch (error) {
    if (isFlashwickError(error) && error.code === "BUDGET_SEQUENCES") return null;
    throw error;
  }
}
