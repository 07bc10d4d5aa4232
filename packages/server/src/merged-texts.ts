/** Several texts at once as one sequence of events, each as soon as it comes. */
import type { ServedSummary, ServedToken } from "@flashwick/runtime";

/** Something that happened to text `index`: a token, or its end. */
export type TextEvent =
  | { readonly index: number; readonly token: ServedToken; readonly waitedMs: number }
  | { readonly index: number; readonly summary: ServedSummary };

type Text = AsyncGenerator<ServedToken, ServedSummary>;
type Arrival = { readonly index: number; readonly step: IteratorResult<ServedToken, ServedSummary>; waitedMs: number };

/**
 * All texts are asked for a token before any is waited for, and whoever gave one waits behind the others. When one fails, or the caller stops, all of
 * them end.
 *
 * @param end   Ends every text, also one that is in the middle of a token: a generator alone returns only after that.
 * @param clock Milliseconds, monotonic.
 * @throws The first failure of any text.
 */
export async function* mergeTexts(
  texts: readonly Text[],
  end: () => void,
  clock: () => number,
): AsyncGenerator<TextEvent, void> {
  const arrivals = new Map(texts.map((text, index) => [index, arrivalOf(text, index, clock)]));
  try {
    while (arrivals.size > 0) {
      const { index, step, waitedMs } = await Promise.race(arrivals.values());
      // Of several that have come, the first in the map is taken.
      arrivals.delete(index);
      if (step.done) {
        yield { index, summary: step.value };
      } else {
        arrivals.set(index, arrivalOf(texts[index]!, index, clock));
        yield { index, token: step.value, waitedMs };
      }
    }
  } finally {
    end();
    await Promise.allSettled(texts.map((text) => text.return(undefined as never)));
  }
}

function arrivalOf(text: Text, index: number, clock: () => number): Promise<Arrival> {
  const startMs = clock();
  const arrival = text.next().then((step) => ({ index, step, waitedMs: clock() - startMs }));
  // It may fail while nobody waits for it; whoever waits next is told.
  arrival.catch(() => {});
  return arrival;
}
