/** Plain columns for a person. */

/** Rows of cells as lines; a cell that is a number stands right, a text left. Two spaces between columns. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((row) => `${row[c] ?? ""}`.length)));
  const isRight = Array.from({ length: columns }, (_, c) => rows.some((row) => typeof row[c] === "number"));
  return rows
    .map((row) =>
      row
        .map((cell, c) => (isRight[c] ? `${cell}`.padStart(widths[c]!) : `${cell}`.padEnd(widths[c]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A share as a percentage with two digits after the point. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

/** A measured share: more digits than these would be noise. */
export function wholePercent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** A number with as many digits as say something. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return `${value}`;
  const size = Math.abs(value);
  return size >= 1000
    ? value.toFixed(0)
    : size >= 100
      ? value.toFixed(1)
      : size >= 1
        ? value.toFixed(2)
        : value.toPrecision(3);
}
