/** A trace's misses over the size of the cache, for all policies. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { escaped } from "./plan-picture.js";
import { type Simulation, unitWords } from "./simulation.js";

/** Colours that the colour-blind tell apart (Okabe and Ito), and marks that who prints in grey does. */
const LOOKS: Readonly<Record<string, { readonly colour: string; readonly dash: string }>> = {
  window: { colour: "#0072b2", dash: "" },
  lru: { colour: "#e69f00", dash: "6 3" },
  pinned: { colour: "#009e73", dash: "2 3" },
  lfu: { colour: "#cc79a7", dash: "8 3 2 3" },
  "s3-fifo": { colour: "#d55e00", dash: "4 2" },
  "least-stale": { colour: "#56b4e9", dash: "10 4" },
  clairvoyant: { colour: "#000000", dash: "1 2" },
};
const WIDTH = 720;
const HEIGHT = 400;

/** @returns An SVG document, white behind, since a page may be dark. */
export function missPicture(simulation: Simulation): string {
  const { rows, dFf, nLayers, pool, trace } = simulation;
  const units = unitWords(simulation);
  const { document } = parseHTML("<html><body></body></html>");
  const names = [...new Set(rows.map(({ policy }) => policy))];
  const points = rows.map(({ policy, slots, missShare }) => ({
    policy,
    share: (100 * slots) / (pool ? nLayers * dFf : dFf),
    missed: 100 * missShare,
  }));
  const plot = Plot.plot({
    document,
    width: WIDTH,
    height: HEIGHT,
    marginLeft: 60,
    marginBottom: 40,
    x: {
      label: `slots, % of ${pool ? "all layers'" : "a layer's"} ${units} →`,
      type: "log",
      grid: true,
      tickFormat: (value: number) => `${value}`,
    },
    y: { label: `↑ misses, % of the ${units} named`, grid: true, zero: true },
    marks: names.flatMap((policy) => {
      const { colour, dash } = LOOKS[policy]!;
      const own = points.filter((point) => point.policy === policy);
      return [
        Plot.line(own, {
          x: "share",
          y: "missed",
          stroke: colour,
          strokeWidth: 1.8,
          strokeDasharray: dash || undefined,
        }),
        Plot.dot(own, { x: "share", y: "missed", fill: colour, r: 2.6 }),
      ];
    }),
  } as Plot.PlotOptions);
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const legend = names.map((policy, i) => {
    const { colour, dash } = LOOKS[policy]!;
    const x = 20 + Math.min(112, (WIDTH - 20) / names.length) * i;
    return `<line x1="${x}" x2="${x + 26}" y1="48" y2="48" stroke="${colour}" stroke-width="2" stroke-dasharray="${dash}"/><text x="${x + 32}" y="52">${policy}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH + 20}" height="${HEIGHT + 80}" font-family="system-ui, sans-serif" font-size="13">
<rect width="${WIDTH + 20}" height="${HEIGHT + 80}" fill="white"/>
<text x="14" y="24" font-size="16" font-weight="bold">Misses over cache size: ${escaped(trace.replace(/^.*[\\/]/, ""))}</text>
${legend.join("")}
<g transform="translate(0 70)">${plot.outerHTML}</g>
</svg>
`;
}
