/** What all pictures on canvases share: their size on the screen, and the colours of the page. */

/** Clears a canvas, sized to its place on the screen. */
export function prepare(canvas: HTMLCanvasElement, height: number) {
  const scale = devicePixelRatio;
  canvas.style.height = `${height}px`;
  const width = canvas.clientWidth;
  Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  const context = canvas.getContext("2d")!;
  context.scale(scale, scale);
  context.font = "12px system-ui, sans-serif";
  return { context, width, height, ink: getComputedStyle(canvas).color };
}

/** A custom property as a colour of canvases. */
export function colourOf(canvas: HTMLCanvasElement, property: string): string {
  return `rgb(${rgbOf(canvas, property).join()})`;
}

/** A custom property as three bytes, whatever way it is written in. */
export function rgbOf(canvas: HTMLCanvasElement, property: string): readonly [number, number, number] {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  canvas.parentElement!.append(probe);
  const [r = 0, g = 0, b = 0] = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? []).map(Number);
  probe.remove();
  return [r, g, b];
}
