// @ts-check
/**
 * Draws docs/pictures/flash-to-token.svg: the way of a neuron from flash to the kernels, with the demo model's own geometry
 * and the neurons that are truly active at the last token of one of its reference prompts.
 *
 *     node tools/pictures/flash-to-token.mjs
 */
import { readFileSync, writeFileSync } from "node:fs";

/** @param {string} path */
const readJson = (path) => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), "utf8"));

const config = readJson("packages/demo-models/models/opt-demo/config.json");
const golden = readJson("packages/runtime/fixtures/goldens/opt-demo.json");
const PROMPT = "To be, or not to be, that is";
const { activeLastPosition } = golden.cases.find((/** @type {{ text?: string }} */ one) => one.text === PROMPT);

const { num_hidden_layers: nLayers, ffn_dim: dFf, hidden_size: dModel } = config;
const active = activeLastPosition.flat().length;
const recordBytes = 2 * dModel * 2;
const flashMiB = (nLayers * dFf * recordBytes) / 2 ** 20;
const share = ((100 * active) / (nLayers * dFf)).toFixed(1);

const INK = "#1f2933";
const QUIET = "#7b8794";
const HOT = "#d64545";

/** @param {number} x @param {number} y @param {string} words @param {{ size?: number, fill?: string, anchor?: string, weight?: number }} [style] */
function text(x, y, words, { size = 12, fill = INK, anchor = "start", weight = 400 } = {}) {
  const escaped = words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}" text-anchor="${anchor}" font-weight="${weight}">${escaped}</text>`;
}

/** @param {number} x @param {number} y @param {number} w @param {number} h @param {string} fill @param {string} [stroke] */
function box(x, y, w, h, fill, stroke = "none") {
  return `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="4" fill="${fill}" stroke="${stroke}"/>`;
}

/** @param {string} path */
const arrow = (path) => `<path d="${path}" fill="none" stroke="${INK}" stroke-width="1.6" marker-end="url(#head)"/>`;

/** A layer's neurons as one strip, the active ones marked. @param {number[]} neurons @param {number} layer */
function strip(neurons, layer) {
  const [x, y, width, height] = [44, 84 + layer * 27, 296, 18];
  const ticks = neurons.map((neuron) => `M${(x + (neuron * width) / dFf).toFixed(1)} ${y}v${height}`).join("");
  return [
    text(36, y + 13, String(layer), { size: 11, fill: QUIET, anchor: "end" }),
    box(x, y, width, height, "#e4e7eb"),
    `<path d="${ticks}" stroke="${HOT}" stroke-width="0.8"/>`,
  ].join("");
}

const flash = [
  text(24, 40, "flash", { size: 17, weight: 700 }),
  text(24, 60, `${nLayers} layers × ${dFf} neurons × ${recordBytes} B records = ${flashMiB} MiB`, { fill: QUIET }),
  ...activeLastPosition.map(strip),
  text(24, 322, `red: the ${active} neurons (${share} %) that are active after`, { fill: HOT }),
  text(24, 340, `“${PROMPT}”`, { fill: HOT }),
];

const slotCells = Array.from({ length: 48 }, (_, i) =>
  box(428 + (i % 12) * 18.5, 190 + Math.floor(i / 12) * 16, 13, 13, i % 7 === 3 ? HOT : "#f3b8b8"),
);
const dram = [
  box(408, 20, 262, 330, "#f5f7fa", "#cbd2d9"),
  text(426, 40, "DRAM, within a hard budget", { size: 14, weight: 700 }),
  box(426, 54, 226, 26, "#cfe0f5"),
  text(436, 72, "attention, embeddings, norms"),
  box(426, 86, 226, 26, "#cfe0f5"),
  text(436, 104, "keys and values"),
  box(426, 118, 226, 26, "#d5ecd4"),
  text(436, 136, "predictors: which neurons next?"),
  text(426, 180, "slots: neurons of the last k tokens", { fill: INK }),
  ...slotCells,
  text(426, 280, "a loaded neuron takes the slot of an", { fill: QUIET }),
  text(426, 297, "evicted one; nothing is reallocated", { fill: QUIET }),
];

const kernels = [
  box(724, 62, 212, 246, "#fff8e6", "#e9d8a6"),
  text(740, 86, "kernels (WASM SIMD)", { size: 14, weight: 700 }),
  text(740, 120, "a = relu(up · x + b)"),
  text(740, 142, "y = Σ a · down"),
  text(740, 172, "over the named neurons only,", { fill: QUIET }),
  text(740, 189, "in ascending order: the same", { fill: QUIET }),
  text(740, 206, "bits whatever was resident", { fill: QUIET }),
  text(740, 250, "next layer … next token"),
];

const arrows = [
  arrow("M352 214 H420"),
  text(384, 206, "misses", { size: 12, anchor: "middle" }),
  text(384, 232, "only", { size: 12, anchor: "middle" }),
  arrow("M656 220 H716"),
  text(696, 240, "no copy", { size: 12, anchor: "middle" }),
  arrow("M724 104 C 700 104, 690 131, 660 131"),
  text(697, 160, "x names", { size: 11, anchor: "middle" }),
  text(697, 174, "the set", { size: 11, anchor: "middle" }),
];

const svg = [
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 370" font-family="system-ui, sans-serif" role="img">`,
  `<title>From flash through DRAM slots to the kernels: ${active} of ${nLayers * dFf} neurons are active for one token</title>`,
  `<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="${INK}"/></marker></defs>`,
  `<rect width="960" height="370" fill="#ffffff"/>`,
  ...flash,
  ...dram,
  ...kernels,
  ...arrows,
  "</svg>",
  "",
].join("\n");
writeFileSync(new URL("../../docs/pictures/flash-to-token.svg", import.meta.url), svg);
