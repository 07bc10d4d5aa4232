/** The panel of drafts: what was drafted, what came of it, in figures and step by step in words. Texts and elements from data; nothing is computed. */
import type { Drafts, StepEvent } from "./messages.js";

/** What drafts, for people. */
const DRAFTERS: Readonly<Record<Exclude<Drafts, "off">, string>> = {
  lookup: "the text itself (lookup)",
  auto: "the text itself, while it pays (auto)",
  lossless: "the sparse path; the dense model verifies (lossless)",
};

/** A run's drafts so far. */
export interface DraftTotals {
  readonly drafted: number;
  readonly accepted: number;
  readonly steps: number;
}

export const NO_DRAFTS: DraftTotals = { drafted: 0, accepted: 0, steps: 0 };

export function addStep({ drafted, accepted, steps }: DraftTotals, step: StepEvent): DraftTotals {
  return { drafted: drafted + step.drafts.length, accepted: accepted + step.accepted, steps: steps + 1 };
}

/** Name and value of each figure. */
export function draftFigures(
  drafts: Exclude<Drafts, "off">,
  totals: DraftTotals,
  last: StepEvent,
): readonly (readonly [string, string])[] {
  const { drafted, accepted, steps } = totals;
  const share = drafted > 0 ? ` (${((100 * accepted) / drafted).toFixed(1)} %)` : "";
  return [
    ["drafter", DRAFTERS[drafts]],
    ["accepted", `${accepted} of ${drafted} drafts${share}`],
    ["tokens per step", `${((accepted + steps) / steps).toFixed(2)} in ${steps} steps`],
    ["drafts of the last step (λ)", `${last.drafts.length}`],
  ];
}

/** The last step and those that the timeline shows, as a sentence each. */
export function draftSentences(steps: readonly StepEvent[]): string {
  const last = steps.at(-1)!;
  const { drafted, accepted } = steps.reduce(addStep, NO_DRAFTS);
  const tokens = accepted + steps.length;
  return (
    `Last step: ${outcome(last.drafts.length, last.accepted)}. ` +
    `The ${tokens} tokens shown came in ${steps.length} steps: ${outcome(drafted, accepted)}.`
  );
}

function outcome(drafted: number, accepted: number): string {
  if (drafted === 0) return "nothing was drafted";
  return `${drafted} drafted, ${accepted} accepted, ${drafted - accepted} rejected`;
}

/** A row of the table of steps: number, counts, and the words with what became of them. */
export function draftRow(number: number, { text, drafts, accepted }: StepEvent): HTMLTableRowElement {
  const row = document.createElement("tr");
  for (const count of [number, drafts.length, accepted, drafts.length - accepted]) {
    const cell = document.createElement("td");
    cell.textContent = `${count}`;
    row.append(cell);
  }
  const words = document.createElement("td");
  words.className = "words";
  words.append(oneLine(text), ...drafts.map((draft, i) => draftedWord(draft, i < accepted)));
  row.append(words);
  return row;
}

function draftedWord(text: string, isAccepted: boolean): HTMLElement {
  const word = document.createElement(isAccepted ? "mark" : "del");
  word.className = "draft";
  word.textContent = oneLine(text);
  return word;
}

function oneLine(text: string): string {
  return text.replaceAll("\n", "⏎");
}

/** A stretch of generated text; what was drafted is marked, and says so where a pointer rests. */
export function textNode(text: string, isDraft: boolean): Node {
  if (!isDraft) return document.createTextNode(text);
  const mark = document.createElement("mark");
  mark.className = "draft";
  mark.title = "from an accepted draft";
  mark.textContent = text;
  return mark;
}
