/** The plan as a picture: tokens per second over budget, coloured by what binds, and a token's time by phase. */
import { formatBytes, GiB, MiB } from "@flashwick/core";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { figure } from "../table.js";
import type { BudgetPoint } from "./budget-curve.js";
import type { PlanDocument } from "./plan-document.js";

/** Colours that the colour-blind tell apart (Okabe and Ito). */
const BOUND_COLOURS = { flash: "#d55e00", dram: "#0072b2", compute: "#009e73", cpu: "#cc79a7" } as const;
const PHASES = [
  ["read", "exposedReadMs", "#d55e00"],
  ["predict", "predictMs", "#f0e442"],
  ["decide", "cacheMs", "#cc79a7"],
  ["check", "checkMs", "#999999"],
  ["attention", "attentionMs", "#0072b2"],
  ["FFN", "ffnMs", "#009e73"],
  ["head", "headMs", "#56b4e9"],
] as const;
const WIDTH = 720;
const CURVE_HEIGHT = 340;
const BAR_HEIGHT = 110;

/** @returns An SVG document, white behind, since a page may be dark. */
export function planPicture(plan: PlanDocument, curve: readonly BudgetPoint[]): string {
  const top = 76;
  const barTop = top + CURVE_HEIGHT + 44;
  const height = barTop + BAR_HEIGHT + 46;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH + 20}" height="${height}" font-family="system-ui, sans-serif" font-size="13">
<rect width="${WIDTH + 20}" height="${height}" fill="white"/>
<text x="14" y="24" font-size="16" font-weight="bold">${escaped(plan.model)} on ${escaped(plan.device)}: predicted</text>
${legend(Object.entries(BOUND_COLOURS), 52, "bound by")}
<g transform="translate(0 ${top})">${curvePlot(plan, curve)}</g>
<text x="14" y="${barTop - 12}">A token within ${formatBytes(plan.memory.budget)}: ${figure(plan.perToken.totalMs)} ms</text>
<g transform="translate(0 ${barTop})">${barPlot(plan)}</g>
${legend(
  PHASES.map(([name, , colour]) => [name, colour] as const),
  height - 16,
  "",
)}
</svg>
`;
}

function curvePlot({ memory, tokensPerSec }: PlanDocument, curve: readonly BudgetPoint[]): string {
  const { document } = parseHTML("<html><body></body></html>");
  const most = Math.max(...curve.map(({ budgetBytes }) => budgetBytes), memory.budget);
  const [unit, label] = most >= GiB ? ([GiB, "GiB"] as const) : ([MiB, "MiB"] as const);
  const chosen = [{ x: memory.budget / unit, y: tokensPerSec }];
  return drawn(
    Plot.plot({
      document,
      width: WIDTH,
      height: CURVE_HEIGHT,
      marginLeft: 60,
      marginBottom: 40,
      x: { label: `DRAM budget, ${label} →`, grid: true },
      y: { label: "↑ tokens per second", grid: true, zero: true },
      color: { domain: Object.keys(BOUND_COLOURS), range: Object.values(BOUND_COLOURS) },
      marks: [
        Plot.line(curve, { x: ({ budgetBytes }) => budgetBytes / unit, y: "tokensPerSec", stroke: "#cccccc" }),
        Plot.dot(curve, {
          x: ({ budgetBytes }) => budgetBytes / unit,
          y: "tokensPerSec",
          fill: "bound",
          symbol: ({ mode }: BudgetPoint) => (mode === "dense" ? "square" : "circle"),
          r: 4,
        }),
        Plot.dot(chosen, { x: "x", y: "y", stroke: "black", r: 8, strokeWidth: 2 }),
      ],
      symbol: { type: "identity" },
    } as Plot.PlotOptions),
  );
}

function barPlot({ perToken }: PlanDocument): string {
  const { document } = parseHTML("<html><body></body></html>");
  const parts = PHASES.map(([phase, key, colour]) => ({ phase, ms: perToken[key], colour }));
  return drawn(
    Plot.plot({
      document,
      width: WIDTH,
      height: BAR_HEIGHT,
      marginLeft: 60,
      marginBottom: 40,
      x: { label: "milliseconds →", domain: [0, perToken.totalMs * 1.02] },
      marks: [Plot.barX(parts, { x: "ms", fill: "colour", order: null }), Plot.ruleX([0])],
    } as Plot.PlotOptions),
  );
}

function drawn(plot: Element): string {
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return plot.outerHTML;
}

function legend(entries: readonly (readonly [string, string])[], y: number, title: string): string {
  const first = title === "" ? 20 : 92;
  const marks = entries.map(
    ([name, colour], i) =>
      `<rect x="${first + 96 * i}" y="${y - 11}" width="12" height="12" fill="${colour}"/><text x="${first + 18 + 96 * i}" y="${y}">${name}</text>`,
  );
  return `${title === "" ? "" : `<text x="14" y="${y}">${title}</text>`}${marks.join("")}`;
}

export function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
}
