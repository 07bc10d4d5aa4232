/** The pictures that this page alone has, on canvases: purely from data, at the screen's own resolution. */
import { prepare } from "@flashwick/drawings";

const POLICY_LOOKS: Readonly<Record<string, { readonly colour: string; readonly dash: readonly number[] }>> = {
  window: { colour: "#0072b2", dash: [] },
  lru: { colour: "#e69f00", dash: [7, 4] },
  pinned: { colour: "#009e73", dash: [2, 4] },
  lfu: { colour: "#cc79a7", dash: [9, 3, 2, 3] },
  "s3-fifo": { colour: "#d55e00", dash: [4, 3] },
  clairvoyant: { colour: "#888888", dash: [1, 2] },
};

/** Misses over slots, a line a policy. */
export function drawMisses(
  canvas: HTMLCanvasElement,
  rows: readonly { readonly policy: string; readonly slots: number; readonly missShare: number }[],
  dFf: number,
): void {
  const { context, width, height, ink } = prepare(canvas, 220);
  const left = 44;
  const bottom = height - 40;
  const low = Math.log(Math.min(...rows.map(({ slots }) => slots)));
  const high = Math.log(Math.max(...rows.map(({ slots }) => slots)));
  const x = (slots: number) => left + ((Math.log(slots) - low) / Math.max(1e-9, high - low)) * (width - left - 12);
  const y = (share: number) => bottom - share * (bottom - 12);
  context.fillStyle = ink;
  context.textAlign = "right";
  for (const share of [0, 0.5, 1]) context.fillText(`${100 * share} %`, left - 6, y(share) + 4);
  context.textAlign = "center";
  for (const slots of new Set(rows.map((row) => row.slots))) {
    context.fillText(`${Math.round((100 * slots) / dFf)} %`, Math.min(width - 14, x(slots)), bottom + 15);
  }
  let legend = left;
  context.textAlign = "left";
  for (const policy of new Set(rows.map((row) => row.policy))) {
    const { colour, dash } = POLICY_LOOKS[policy]!;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.setLineDash([...dash]);
    context.beginPath();
    for (const { slots, missShare } of rows.filter((row) => row.policy === policy))
      context.lineTo(x(slots), y(missShare));
    context.stroke();
    context.beginPath();
    context.moveTo(legend, height - 8);
    context.lineTo(legend + 18, height - 8);
    context.stroke();
    context.fillText(policy, legend + 22, height - 4);
    legend += 30 + context.measureText(policy).width;
  }
  context.setLineDash([]);
}

export interface EpochPoint {
  readonly layer: number;
  readonly epoch: number;
  readonly loss: number;
  /** Share of the active neurons. */
  readonly recall: number;
}

/** Loss and recall after each epoch, above each other: a line a layer, one layer behind the other. */
export function drawTraining(canvas: HTMLCanvasElement, points: readonly EpochPoint[], nLayers: number): void {
  const { context, width, height, ink } = prepare(canvas, 198);
  const left = 56;
  const room = (width - left) / nLayers;
  const last = Math.max(...points.map(({ epoch }) => epoch));
  const panels = [
    { key: "loss", colour: "#d55e00", top: 26, format: (value: number) => value.toFixed(3) },
    { key: "recall", colour: "#0072b2", top: 112, format: (value: number) => `${Math.round(100 * value)} %` },
  ] as const;
  const tall = 50;
  for (const { key, colour, top, format } of panels) {
    const values = points.map((point) => point[key]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (value: number) => top + tall * (high === low ? 0.5 : (high - value) / (high - low));
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 2;
    for (let layer = 0; layer < nLayers; layer++) {
      context.beginPath();
      for (const point of points.filter((own) => own.layer === layer)) {
        const x = left + room * (layer + 0.15 + (0.7 * point.epoch) / last);
        context.lineTo(x, y(point[key]));
        context.fillRect(x - 2, y(point[key]) - 2, 4, 4);
      }
      context.stroke();
    }
    context.fillStyle = ink;
    context.textAlign = "right";
    context.fillText(format(high), left - 4, top + 4);
    if (high > low) context.fillText(format(low), left - 4, top + tall + 4);
    context.textAlign = "left";
    context.fillText(key === "loss" ? "loss" : "recall on held-out text", left, top - 6);
  }
  context.fillText("epochs, layer by layer →", left, height - 4);
}
