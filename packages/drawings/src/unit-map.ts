/** The map of what a step used of each layer: a pixel a neuron, or a cell an expert, of which there are few. Purely from data. */
import { colourOf, prepare, rgbOf } from "./canvas.js";

/** By `STATE`. */
const STATE_COLOURS = ["--away", "--resident", "--awake", "--fetched"] as const;

/** What caches hold by number. */
export type Unit = "neuron" | "expert";

/** What a map of units is drawn from. */
export interface MapFacts {
  readonly unit: Unit;
  readonly nLayers: number;
  /** Neurons, or experts, of the layer that has most. */
  readonly dFf: number;
  readonly unitsByLayer: readonly number[];
}

/**
 * Draws a pixel for a neuron, or a cell for an expert, a stretch for a layer.
 *
 * @param states By layer and unit, `[nLayers * dFf]`.
 */
export function drawMap(canvas: HTMLCanvasElement, facts: MapFacts, states: Uint8Array): void {
  if (facts.unit === "expert") drawExperts(canvas, facts, states);
  else drawNeurons(canvas, facts, states);
}

/** A pixel a neuron, a row a layer: rows are cut to the canvas's width in stretches. */
function drawNeurons(canvas: HTMLCanvasElement, { nLayers, dFf }: MapFacts, states: Uint8Array): void {
  const rowsPerLayer = Math.max(1, Math.ceil(dFf / 512));
  const columns = Math.ceil(dFf / rowsPerLayer);
  const gap = 1;
  const height = nLayers * (rowsPerLayer + gap) - gap;
  if (canvas.width !== columns || canvas.height !== height) Object.assign(canvas, { width: columns, height });
  canvas.style.height = `${Math.max(96, Math.min(320, 12 * height))}px`;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(columns, height);
  const colours = STATE_COLOURS.map((name) => rgbOf(canvas, name));
  for (let layer = 0; layer < nLayers; layer++) {
    for (let neuron = 0; neuron < dFf; neuron++) {
      const row = layer * (rowsPerLayer + gap) + Math.floor(neuron / columns);
      const at = 4 * (row * columns + (neuron % columns));
      const [r, g, b] = colours[states[layer * dFf + neuron]!]!;
      image.data[at] = r;
      image.data[at + 1] = g;
      image.data[at + 2] = b;
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

/** Where the cells of experts lie, in pixels of the page. */
export interface ExpertCells {
  readonly columns: number;
  readonly rowsPerLayer: number;
  /** From one cell to the next, the gap between them included. */
  readonly across: number;
  readonly down: number;
  /** From one layer to the next. */
  readonly layerDown: number;
}

/** Cells are at least as wide as can be told apart, and no wider than a square of a picture this high. */
const CELL = { least: 5, most: 24 };
const MAP_HEIGHT = 320;

/** The largest cells that a canvas of this width has room for; layers of more experts than fit side by side take several rows. */
export function expertCells({ nLayers, dFf }: Pick<MapFacts, "nLayers" | "dFf">, width: number): ExpertCells {
  const most = Math.max(1, Math.floor(width / CELL.least));
  const rowsPerLayer = Math.ceil(dFf / most);
  const columns = Math.ceil(dFf / rowsPerLayer);
  const across = Math.max(CELL.least, Math.min(CELL.most, Math.floor(width / columns)));
  const down = Math.max(CELL.least, Math.min(across, Math.floor(MAP_HEIGHT / (nLayers * rowsPerLayer))));
  // Where a layer has several rows, a gap holds them together.
  return { columns, rowsPerLayer, across, down, layerDown: rowsPerLayer * down + (rowsPerLayer > 1 ? 3 : 0) };
}

/** A cell an expert, a row a layer. Layers without experts stay empty. */
function drawExperts(canvas: HTMLCanvasElement, facts: MapFacts, states: Uint8Array): void {
  const { nLayers, dFf, unitsByLayer } = facts;
  const { columns, across, down, layerDown } = expertCells(facts, canvas.clientWidth);
  const { context } = prepare(canvas, nLayers * layerDown);
  const colours = STATE_COLOURS.map((name) => colourOf(canvas, name));
  for (const [layer, count] of unitsByLayer.entries()) {
    for (let expert = 0; expert < count; expert++) {
      context.fillStyle = colours[states[layer * dFf + expert]!]!;
      const x = (expert % columns) * across;
      const y = layer * layerDown + Math.floor(expert / columns) * down;
      context.fillRect(x, y, across - 1, down - 1);
    }
  }
}
