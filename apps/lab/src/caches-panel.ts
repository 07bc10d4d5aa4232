/** The panel of caches: what other sizes and policies would have missed on the last text. */
import { drawMisses } from "./drawings.js";
import { element, tableRow } from "./elements.js";
import { ask } from "./engine-link.js";
import type { Answer } from "./messages.js";

const SLOT_SHARES = [0.05, 0.1, 0.2, 0.4, 0.8];
/** Fewer tokens say nothing. */
const LEAST_TOKENS = 8;

export function showReplayable(tokens: number): void {
  element<HTMLButtonElement>("simulate").disabled = tokens < LEAST_TOKENS;
}

export function showSimulation({ rows, unit, dFf, tokens }: Extract<Answer, { kind: "simulated" }>): void {
  const canvas = element<HTMLCanvasElement>("sim");
  canvas.hidden = false;
  drawMisses(canvas, rows, dFf);
  const policies = [...new Set(rows.map(({ policy }) => policy))];
  const slots = [...new Set(rows.map((row) => row.slots))];
  const head = tableRow(["slots of a layer", ...policies], "th");
  const lines = slots.map((count) =>
    tableRow([
      `${count} (${((100 * count) / dFf).toFixed(0)} %)`,
      ...policies.map((policy) => {
        const { missShare } = rows.find((row) => row.slots === count && row.policy === policy)!;
        return `${(100 * missShare).toFixed(1)} %`;
      }),
    ]),
  );
  const [thead, tbody] = [document.createElement("thead"), document.createElement("tbody")];
  thead.append(head);
  tbody.append(...lines);
  element("sim-table").replaceChildren(thead, tbody);
  element("sim-text").textContent =
    `Misses, of the ${unit}s named by ${tokens} tokens. "clairvoyant" knows the future: nothing misses less.`;
}

element("simulate").onclick = () => ask({ kind: "simulate", slotShares: SLOT_SHARES });
