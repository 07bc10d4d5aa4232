// @ts-check
/** Quality over bytes: a panel a model, a dot a file, and a line through those that no smaller file beats. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

/** Colours that the colour-blind tell apart (Okabe and Ito). */
const COLOURS = ["#0072b2", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"];

/** @typedef {{ readonly model: string, readonly weights: string, readonly left_out: number, readonly predictor: string, readonly bytes: number, readonly mean_kl: number }} CompressionRow */

/**
 * @param {readonly CompressionRow[]} rows
 * @returns {string} An SVG document, white behind.
 */
export function compressionPicture(rows) {
  const models = [...new Set(rows.map(({ model }) => model))];
  const weights = [...new Set(rows.map((row) => row.weights))];
  const legend = weights.map(
    (name, i) =>
      `<circle cx="${20 + 150 * i}" cy="44" r="5" fill="${COLOURS[i % COLOURS.length]}"/><text x="${30 + 150 * i}" y="48">${name}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="860" height="460" font-family="system-ui, sans-serif" font-size="13">
<rect width="860" height="460" fill="white"/>
<text x="14" y="22" font-size="16" font-weight="bold">What smaller files lose</text>
${legend.join("\n")}
<text x="14" y="70">filled: dense; hollow: with the shipped predictor; square: neurons left out; line: no smaller file is nearer</text>
${models.map((model, i) => panel(model, weights, rows, i)).join("\n")}
</svg>
`;
}

/**
 * Those that no file of as many bytes or fewer beats, by size.
 *
 * @template {{ readonly bytes: number, readonly mean_kl: number }} Row
 * @param {readonly Row[]} rows
 * @returns {Row[]}
 */
export function paretoFront(rows) {
  const bySize = [...rows].sort((a, b) => a.bytes - b.bytes || a.mean_kl - b.mean_kl);
  let least = Number.POSITIVE_INFINITY;
  return bySize.filter(({ mean_kl }) => {
    if (mean_kl >= least) return false;
    least = mean_kl;
    return true;
  });
}

/**
 * @param {string} model
 * @param {readonly string[]} weights
 * @param {readonly CompressionRow[]} rows
 * @param {number} index
 */
function panel(model, weights, rows, index) {
  const { document } = parseHTML("<html><body></body></html>");
  const data = rows
    // What everything is compared with has no divergence to show.
    .filter((row) => row.model === model && row.mean_kl > 0)
    .map((row) => ({ ...row, mib: row.bytes / 2 ** 20 }));
  const dots = (/** @type {boolean} */ isDense) => {
    const of = data.filter(({ predictor }) => (predictor === "none") === isDense);
    const symbol = (/** @type {CompressionRow} */ { left_out }) => (left_out > 0 ? "square" : "circle");
    const colour = isDense ? { fill: "weights" } : { stroke: "weights", strokeWidth: 2, fill: "white" };
    return Plot.dot(of, { x: "mib", y: "mean_kl", r: 5, symbol, ...colour });
  };
  const plot = Plot.plot({
    document,
    width: 420,
    height: 350,
    marginLeft: 56,
    marginBottom: 42,
    x: { label: "model and predictor, MiB →", grid: true },
    y: { label: "↑ mean KL from f16, dense, nat (logarithmic)", type: "log", grid: true, tickFormat: "~e", ticks: 4 },
    color: { domain: weights, range: COLOURS },
    symbol: { domain: ["circle", "square"], range: ["circle", "square"] },
    marks: [Plot.line(paretoFront(data), { x: "mib", y: "mean_kl", stroke: "#999" }), dots(true), dots(false)],
  });
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return `<g transform="translate(${10 + 425 * index} 104)"><text x="56" y="-8" font-weight="bold">${model}</text>${plot.outerHTML}</g>`;
}
