// @ts-check
/** Divergence from the dense model over flash bytes a token: one line a predictor, a panel a model. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

/** Colours that the colour-blind tell apart (Okabe and Ito). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/**
 * @param {readonly { readonly model: string, readonly predictor: string, readonly window: number | string, readonly mean_kl: number, readonly flash_bytes_per_token: number }[]} rows
 * @returns {string} An SVG document, white behind.
 */
export function qualityPicture(rows) {
  const models = [...new Set(rows.map(({ model }) => model))];
  const predictors = [...new Set(rows.map(({ predictor }) => predictor))];
  const panels = models.map((model, i) => panel(model, predictors, rows, i));
  const legend = predictors.map(
    (name, i) =>
      `<circle cx="${20 + 120 * i}" cy="44" r="5" fill="${COLOURS[i % COLOURS.length]}"/><text x="${30 + 120 * i}" y="48">${name}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="860" height="440" font-family="system-ui, sans-serif" font-size="13">
<rect width="860" height="440" fill="white"/>
<text x="14" y="22" font-size="16" font-weight="bold">What the predictor loses over what is read</text>
${legend.join("\n")}
${panels.join("\n")}
</svg>
`;
}

/**
 * @param {string} model
 * @param {readonly string[]} predictors
 * @param {Parameters<typeof qualityPicture>[0]} rows
 * @param {number} index
 */
function panel(model, predictors, rows, index) {
  const { document } = parseHTML("<html><body></body></html>");
  const data = rows
    .filter((row) => row.model === model && typeof row.window === "string")
    .map((row) => ({ ...row, kib: row.flash_bytes_per_token / 1024 }));
  const plot = Plot.plot({
    document,
    width: 420,
    height: 350,
    marginLeft: 56,
    marginBottom: 42,
    x: { label: "flash, KiB a token →", grid: true, zero: true },
    y: { label: "↑ mean KL from dense, nat (logarithmic)", type: "log", grid: true, tickFormat: "~e", ticks: 4 },
    color: { domain: predictors, range: COLOURS },
    marks: [
      Plot.line(data, { x: "kib", y: "mean_kl", stroke: "predictor", strokeWidth: 2 }),
      Plot.dot(data, { x: "kib", y: "mean_kl", fill: "predictor", r: 4 }),
    ],
  });
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return `<g transform="translate(${10 + 425 * index} 84)"><text x="56" y="-8" font-weight="bold">${model}</text>${plot.outerHTML}</g>`;
}
