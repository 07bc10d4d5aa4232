/** A round of one model through a scheduler: many texts at once, some of which are left, and a scheduler that is closed at its end or before. */
import { eventLoopTurn, isFlashwickError, type Random } from "@flashwick/core";
import type { TextScheduler } from "@flashwick/runtime";
import { optionsOf, type Story, type Told } from "./story.js";
import type { Teller } from "./visit.js";

/** More than there are sequences: some wait. */
const GUESTS = 8;
const MAX_QUEUE = 3;
const LEFT = new Error("the guest has left");

/** Goes on until so many tokens have come. */
export async function togetherRound(
  teller: Teller,
  stories: readonly Story[],
  told: readonly Told[],
  tokens: number,
): Promise<void> {
  const { counted, ledger, number, random } = teller;
  const scheduler = await counted.model.openScheduler({ maxQueue: MAX_QUEUE });
  const until = ledger.tokensOf(number) + tokens;
  const isCut = random.below(4) === 0;
  // A scheduler gives the plain text: what lossless stories come to is another one.
  const plain = [...stories.keys()].filter((story) => !stories[story]!.lossless);
  const guests = Promise.allSettled(
    Array.from({ length: GUESTS }, async () => {
      while (ledger.tokensOf(number) < until) {
        const story = plain[random.below(plain.length)]!;
        await visit(teller, scheduler, stories[story]!, told[story]!.beginning);
      }
    }),
  );
  // Closed in the middle: whoever is there is told so.
  while (isCut && ledger.tokensOf(number) < until - tokens / 4) await eventLoopTurn();
  if (isCut) await scheduler.close();
  const failures = (await guests).flatMap((guest) => (guest.status === "rejected" ? [guest.reason as unknown] : []));
  await scheduler.close();
  const unexpected = failures.filter((error) => !(isCut && hasCode(error, "DISPOSED")));
  if (unexpected.length > 0) throw unexpected[0];
}

async function visit(
  teller: Teller,
  scheduler: TextScheduler,
  story: Story,
  expected: readonly number[],
): Promise<void> {
  const { ledger, name } = teller;
  const plan = planVisit(teller.random, expected.length);
  const leaving = new AbortController();
  const { speculate: _, ...options } = optionsOf(story, story.beginning);
  const { prompt, maxTokens } = story.beginning;
  const found: number[] = [];
  const run = scheduler.generate({ ...options, prompt, maxTokens, signal: leaving.signal });
  const where = `${name}, together, prompt ${prompt.join(" ")}`;
  try {
    for (;;) {
      const next = await run.next();
      if (next.done) {
        ledger.count("served");
        return ledger.checkText(where, next.value.tokens, expected, true);
      }
      if (next.value.token === null) continue;
      found.push(next.value.token);
      ledger.countToken(teller.number);
      for (let turn = 0; turn < plan.dawdles; turn++) await eventLoopTurn();
      if (found.length < plan.leavesAfter) continue;
      if (!plan.byAbort) break;
      leaving.abort(LEFT);
    }
  } catch (error) {
    if (hasCode(error, "QUEUE_FULL")) return await eventLoopTurn();
    if (error !== LEFT) throw error;
  } finally {
    await run.return(undefined as never);
  }
  ledger.count(plan.byAbort ? "aborted" : "left");
  ledger.checkText(where, found, expected, false);
}

function hasCode(error: unknown, code: string): boolean {
  return isFlashwickError(error) && error.code === code;
}

function planVisit(random: Random, tokens: number) {
  return {
    leavesAfter: random.below(4) === 0 ? 1 + random.below(tokens) : Number.POSITIVE_INFINITY,
    byAbort: random.below(2) === 0,
    dawdles: random.below(4) === 0 ? random.below(8) : 0,
  };
}
