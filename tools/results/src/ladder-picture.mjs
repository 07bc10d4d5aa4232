// @ts-check
/** The ladder as a picture: for each rung the time of a token and what of it is I/O, and the paper's I/O (OPT 6.7B, M1 Max) as a mark. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

/** Two colours that the colour-blind tell apart (Okabe and Ito). */
const COLOURS = { "whole token": "#999999", "I/O": "#0072b2", "the paper's I/O (OPT 6.7B, M1 Max)": "#d55e00" };

/**
 * @param {readonly { readonly title: string, readonly ioMs: number, readonly totalMs: number, readonly paper: { readonly ioMs: number } | null }[]} rungs
 * @param {string} title
 * @returns {string} An SVG document, white behind, readable at 720 pixels.
 */
export function ladderPicture(rungs, title) {
  const { document } = parseHTML("<html><body></body></html>");
  const bars = rungs.flatMap((rung) => [
    { rung: rung.title, what: "whole token", ms: rung.totalMs },
    { rung: rung.title, what: "I/O", ms: rung.ioMs },
  ]);
  const marks = rungs.flatMap((rung) => (rung.paper ? [{ rung: rung.title, what: "I/O", ms: rung.paper.ioMs }] : []));
  const least = Math.min(...bars.map(({ ms }) => ms), ...marks.map(({ ms }) => ms));
  const plot = Plot.plot({
    document,
    width: 720,
    marginLeft: 190,
    marginRight: 60,
    x: {
      type: "log",
      label: "milliseconds, logarithmic →",
      domain: [least / 2, 3 * Math.max(...bars.map(({ ms }) => ms))],
    },
    y: { axis: null, domain: ["whole token", "I/O"] },
    fy: { axis: "left", label: null, domain: rungs.map((rung) => rung.title) },
    color: { domain: Object.keys(COLOURS), range: Object.values(COLOURS) },
    marks: [
      Plot.barX(bars, { x1: least / 2, x2: "ms", y: "what", fy: "rung", fill: "what" }),
      Plot.text(bars, { x: "ms", y: "what", fy: "rung", text: ({ ms }) => label(ms), textAnchor: "start", dx: 4 }),
      Plot.tickX(marks, {
        x: "ms",
        y: "what",
        fy: "rung",
        stroke: COLOURS["the paper's I/O (OPT 6.7B, M1 Max)"],
        strokeWidth: 3,
      }),
    ],
  });
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return framed(plot.outerHTML, title);
}

/** @param {number} ms */
function label(ms) {
  return ms >= 10 ? ms.toFixed(0) : ms.toFixed(1);
}

/**
 * Title and legend above, on white, since a page may be dark.
 *
 * @param {string} plot
 * @param {string} title
 */
function framed(plot, title) {
  const height = Number(/height="(\d+)"/.exec(plot)?.[1] ?? 400);
  const legend = Object.entries(COLOURS)
    .map(([what, colour], i) => {
      const x = 10 + 150 * i;
      return `<rect x="${x}" y="28" width="12" height="12" fill="${colour}"/><text x="${x + 18}" y="38">${what}</text>`;
    })
    .join("");
  const inner = plot.replace("<svg ", '<svg x="0" y="48" ');
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="720" height="${height + 56}" viewBox="0 0 720 ${height + 56}" ` +
    `font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>` +
    `<text x="10" y="18" font-size="14" font-weight="600">${title}</text>${legend}${inner}</svg>\n`
  );
}
