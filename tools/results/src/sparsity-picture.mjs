// @ts-check
/** Divergence from the dense model over the FFN bytes that a token reads: one line a method, the gate dashed. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { GATES } from "./sparsity-gates.mjs";

/** Colours that the colour-blind tell apart (Okabe and Ito). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];
const LEGEND_WIDTH = 210;
const LEGEND_COLUMNS = 4;

/**
 * @param {string} model
 * @param {readonly { readonly curve: string, readonly cache_share: number, readonly kl: number, readonly read_share: number, readonly flash_share: number }[]} rows
 * @returns {string} An SVG document, white behind.
 */
export function sparsityPicture(model, rows) {
  const own = rows
    // What loses nothing has no place on a logarithmic axis.
    .filter(({ kl }) => kl > 0)
    .map((row) => ({ ...row, curve: row.curve || row.method }));
  const curves = [...new Set(own.map(({ curve }) => curve))];
  const legend = curves.map((name, i) => {
    const [x, y] = [20 + LEGEND_WIDTH * (i % LEGEND_COLUMNS), 44 + 20 * Math.floor(i / LEGEND_COLUMNS)];
    return `<circle cx="${x}" cy="${y}" r="5" fill="${COLOURS[i % COLOURS.length]}"/><text x="${x + 10}" y="${y + 4}">${name}</text>`;
  });
  const top = 60 + 20 * Math.ceil(curves.length / LEGEND_COLUMNS);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="860" height="${top + 380}" font-family="system-ui, sans-serif" font-size="13">
<rect width="860" height="${top + 380}" fill="white"/>
<text x="14" y="22" font-size="16" font-weight="bold">${model}: what is lost over what is read</text>
${legend.join("\n")}
${panel(own, curves, "read_share", "of the FFNs' bytes, without a cache", 10, top)}
${panel(own, curves, "flash_share", "of the FFNs' bytes from flash, with the cache", 435, top)}
</svg>
`;
}

/**
 * @param {readonly object[]} data
 * @param {readonly string[]} curves
 * @param {string} x
 * @param {string} label
 * @param {number} left
 * @param {number} top
 */
function panel(data, curves, x, label, left, top) {
  const { document } = parseHTML("<html><body></body></html>");
  const plot = Plot.plot({
    document,
    width: 420,
    height: 350,
    marginLeft: 56,
    marginBottom: 42,
    x: { label: `${label} →`, grid: true, zero: true, tickFormat: "%" },
    y: { label: "↑ mean KL from dense, nat (logarithmic)", type: "log", grid: true, tickFormat: "~e", ticks: 4 },
    color: { domain: curves, range: curves.map((_, i) => COLOURS[i % COLOURS.length]) },
    marks: [
      Plot.ruleY([GATES.kl], { stroke: "#999999", strokeDasharray: "4 4" }),
      // A line for each size of the cache.
      Plot.line(data, {
        x,
        y: "kl",
        z: ({ curve, cache_share }) => `${curve} ${cache_share}`,
        stroke: "curve",
        strokeWidth: 2,
        sort: x,
      }),
      Plot.dot(data, { x, y: "kl", fill: "curve", r: 4 }),
    ],
  });
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return `<g transform="translate(${left} ${top})">${plot.outerHTML}</g>`;
}
