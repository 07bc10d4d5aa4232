// @ts-check
/** Predicted over measured milliseconds a token, one mark a run, with the line of perfection and ten per cent to both sides. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

/** Colours that the colour-blind tell apart (Okabe and Ito). */
const COLOURS = { f16: "#0072b2", int8: "#d55e00" };
const SHAPES = { bundled: "circle", split: "square" };

/**
 * @param {readonly { readonly size: string, readonly dtype: string, readonly layout: string, readonly measured_ms: number, readonly replayed_ms: number }[]} rows
 * @returns {string} An SVG document, white behind.
 */
export function scatterPicture(rows) {
  const { document } = parseHTML("<html><body></body></html>");
  const all = rows.flatMap((row) => [row.measured_ms, row.replayed_ms]);
  const domain = [Math.min(...all) / 1.3, Math.max(...all) * 1.3];
  const line = (/** @type {number} */ factor) => domain.map((ms) => ({ measured: ms, predicted: ms * factor }));
  const lineOf = (/** @type {number} */ factor, /** @type {string} */ dash) =>
    Plot.line(line(factor), { x: "measured", y: "predicted", stroke: "#999999", strokeDasharray: dash, clip: true });
  const plot = Plot.plot({
    document,
    width: 640,
    height: 560,
    marginLeft: 60,
    marginBottom: 45,
    x: {
      type: "log",
      domain,
      label: "measured, milliseconds a token (logarithmic) →",
      ticks: 6,
      tickFormat: "~s",
      grid: true,
    },
    y: { type: "log", domain, label: "↑ predicted, milliseconds a token", ticks: 6, tickFormat: "~s", grid: true },
    color: { domain: Object.keys(COLOURS), range: Object.values(COLOURS) },
    symbol: { domain: Object.keys(SHAPES), range: Object.values(SHAPES) },
    marks: [
      lineOf(1, "none"),
      lineOf(1.1, "4 4"),
      lineOf(1 / 1.1, "4 4"),
      Plot.dot(rows, { x: "measured_ms", y: "replayed_ms", stroke: "dtype", symbol: "layout", r: 5, strokeWidth: 2 }),
    ],
  });
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  plot.setAttribute("y", "60");
  const legend = [
    ...Object.entries(COLOURS).map(([dtype, colour], i) => mark(20 + 90 * i, colour, "circle", dtype)),
    mark(220, "#555555", "circle", "bundled"),
    mark(330, "#555555", "square", "split"),
    `<text x="420" y="44">dashed: ten per cent off</text>`,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="660" height="630" font-family="system-ui, sans-serif" font-size="13">
<rect width="660" height="630" fill="white"/>
<text x="14" y="22" font-size="16" font-weight="bold">Predicted beside measured: ${rows.length} runs</text>
${legend.join("\n")}
${plot.outerHTML}
</svg>
`;
}

/**
 * @param {number} x
 * @param {string} colour
 * @param {string} shape
 * @param {string} text
 */
function mark(x, colour, shape, text) {
  const drawn =
    shape === "circle"
      ? `<circle cx="${x}" cy="40" r="5" fill="none" stroke="${colour}" stroke-width="2"/>`
      : `<rect x="${x - 5}" y="35" width="10" height="10" fill="none" stroke="${colour}" stroke-width="2"/>`;
  return `${drawn}<text x="${x + 12}" y="44">${text}</text>`;
}
