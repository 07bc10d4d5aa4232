/**
 * How many tokens to draft, from what steps have cost and given so far: asked before every step, told after it. No clock and no random number is
 * in it: the same observations give the same answers.
 *
 * - Acceptance: accepted over tried drafts, the past fading by {@link TRIAL_FADE} a trial. Drafts after the first that is refused are no trials.
 * - A pass: the least-squares line of milliseconds over tokens, fading by {@link PASS_FADE} a pass.
 * - The answer is `chooseDraftTokens` of the two. Where that is 0, text may have become predictable unnoticed, so one draft is tried now and
 *   then: every step without drafts puts {@link PROBE_SHARE} of its time aside, every draft takes what it lost out of that, and puts back what
 *   it won. A draft is tried when what is aside pays for it, so trying costs at most that share; and a draft that is accepted pays for the next,
 *   so text that has become predictable is found out about within some tens of tokens.
 */
import { chooseDraftTokens, type Speculation, type SpeculationRequest, speculationCost } from "./speculation-cost.js";

/** A trial counts half after 69 more: long enough for a steady choice, short enough to follow a text. */
const TRIAL_FADE = 0.99;
/** A pass counts half after 14 more. */
const PASS_FADE = 0.95;
/** Of the time of steps without drafts. */
const PROBE_SHARE = 0.015;
/** Trials that the first guess of the acceptance is worth: it is soon outvoted. */
const PRIOR_TRIALS = 2;
/** Nobody knows better: between text that repeats itself and text that does not. */
const PRIOR_ACCEPTANCE = 0.6;
/** Passes that a prediction is worth. */
const PRIOR_PASSES = 0.25;
/** Tries that may be saved up for. */
const MOST_PROBES_ASIDE = 2;

/** What is expected before anything is observed; all of it optional. */
export interface SpeculationPrior {
  /** Of a drafted token, 0 … 1. Default 0.6. */
  readonly acceptance?: number;
  /** What is drafted while nothing is known of what a draft or a pass costs. Default 1. */
  readonly firstDraftTokens?: number;
  /** Milliseconds of a drafted token, as `tokenCost` has it. */
  readonly draftMs?: number;
  /** Milliseconds of a pass over so many tokens, as `passCost` has it. */
  readonly verifyMs?: (tokens: number) => number;
}

/** Learns during a run how many tokens to draft, from what steps cost and how many drafts were accepted. */
export class SpeculationMeter {
  readonly #verify: FadingLine;
  readonly #draft: FadingLine;
  readonly #firstDraftTokens: number;
  #tried = PRIOR_TRIALS;
  #accepted: number;
  /** Milliseconds that tries may cost; never negative. */
  #asideMs = 0;

  constructor(prior: SpeculationPrior = {}) {
    const { acceptance = PRIOR_ACCEPTANCE, firstDraftTokens = 1, draftMs, verifyMs } = prior;
    this.#firstDraftTokens = firstDraftTokens;
    this.#accepted = acceptance * PRIOR_TRIALS;
    this.#draft = new FadingLine();
    this.#verify = new FadingLine();
    if (draftMs !== undefined) this.#draft.add(1, draftMs, PRIOR_PASSES);
    if (verifyMs !== undefined) {
      for (const tokens of PRIOR_POINTS) this.#verify.add(tokens, verifyMs(tokens), PRIOR_PASSES / PRIOR_POINTS.length);
    }
  }

  /**
   * Told after drafting what it took.
   *
   * @param ms Of one drafted token: of several, their mean.
   */
  observeDraft(ms: number): void {
    this.#draft.add(1, ms);
  }

  /**
   * Told after a verifying step what it took, and how many drafts it accepted.
   *
   * @param tokens That the pass was over: drafts and the one before them, or 1.
   */
  observeVerify(tokens: number, ms: number): void {
    this.#verify.add(tokens, ms);
    if (tokens === 1) this.#putAside(PROBE_SHARE * ms);
  }

  /**
   * What became of a step's drafts; after its `observeDraft` and `observeVerify`.
   *
   * @param accepted Of the `drafted` tokens, from the first on without a gap.
   */
  observeAccepted(drafted: number, accepted: number): void {
    if (drafted === 0) return;
    const trials = Math.min(drafted, accepted + 1);
    const fade = TRIAL_FADE ** trials;
    this.#tried = fade * this.#tried + trials;
    this.#accepted = fade * this.#accepted + accepted;
    this.#putAside(accepted * this.verifyMs(1) - this.#extraMs(drafted));
  }

  /** Probability that a drafted token is accepted once all before it were. */
  get acceptance(): number {
    return this.#accepted / this.#tried;
  }

  /** Milliseconds of a pass over `tokens`; never less for more of them. NaN while nothing was observed or predicted. */
  verifyMs(tokens: number): number {
    return this.#verify.at(tokens);
  }

  /**
   * What the next step should draft. Changes nothing: asking twice gives the same answer.
   *
   * @param most Drafts that the step may have, an integer of at least 0.
   */
  best(most: number): Pick<Speculation, "draftTokens" | "tokensPerStep" | "gain"> {
    const request = this.#request();
    // Nothing is known of what a draft costs, or a pass: the first will tell.
    if (request === null) return { draftTokens: Math.min(this.#firstDraftTokens, most), tokensPerStep: 1, gain: 1 };
    const choice = chooseDraftTokens(request, most);
    const tries = choice.draftTokens === 0 && most > 0 && this.#asideMs >= this.#extraMs(1);
    const { draftTokens, tokensPerStep, gain } = tries ? speculationCost(request, 1) : choice;
    return { draftTokens, tokensPerStep, gain };
  }

  #request(): SpeculationRequest | null {
    const draftMs = this.#draft.at(1);
    if (Number.isNaN(draftMs) || Number.isNaN(this.verifyMs(1))) return null;
    return { draftMs, verifyMs: (tokens) => this.verifyMs(tokens), acceptance: this.acceptance };
  }

  /** What a step with drafts takes beyond one without. */
  #extraMs(drafted: number): number {
    return drafted * this.#draft.at(1) + this.verifyMs(drafted + 1) - this.verifyMs(1);
  }

  /** Below nothing there is no debt: what learning has cost is past. */
  #putAside(ms: number): void {
    const most = MOST_PROBES_ASIDE * Math.max(this.#extraMs(1), PROBE_SHARE * this.verifyMs(1));
    const saved = this.#asideMs + ms;
    // What a draft costs may not be known yet.
    this.#asideMs = Math.max(0, Number.isNaN(most) ? saved : Math.min(saved, most));
  }
}

/** Where a prediction of passes is looked at: a line through it needs two points, and few drafts matter most. */
const PRIOR_POINTS = [1, 5] as const;

/** y over x as a line, fitted to what was observed while the past fades. Never falls, and is nowhere negative. */
class FadingLine {
  #weight = 0;
  #meanX = 0;
  #meanY = 0;
  /** Weighted sums of squares and products around the means (Welford). */
  #xx = 0;
  #xy = 0;
  /** The last slope that the observations told: while all have the same x it stays. */
  #slope = 0;

  add(x: number, y: number, weight = 1): void {
    this.#weight = PASS_FADE * this.#weight + weight;
    const dx = x - this.#meanX;
    const share = weight / this.#weight;
    this.#meanX += share * dx;
    this.#meanY += share * (y - this.#meanY);
    this.#xx = PASS_FADE * this.#xx + weight * dx * (x - this.#meanX);
    this.#xy = PASS_FADE * this.#xy + weight * dx * (y - this.#meanY);
    if (this.#xx > LEAST_SPREAD * this.#weight) this.#slope = Math.max(0, this.#xy / this.#xx);
  }

  at(x: number): number {
    if (this.#weight === 0) return Number.NaN;
    return Math.max(0, this.#meanY + this.#slope * (x - this.#meanX));
  }
}

/** Squared tokens: less, and what is left of other numbers of tokens is too old to say anything. */
const LEAST_SPREAD = 1e-3;
