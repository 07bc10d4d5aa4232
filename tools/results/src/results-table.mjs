/** Tables of docs/results, as CSV: RFC 4180 with line feeds, numbers to six digits. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const DIGITS = 6;

/**
 * @param name    Under docs/results.
 * @param columns By name, what a row has there. Default: the first row's own properties.
 * @returns What was written.
 */
export function writeTable(name, rows, columns = propertiesOf(rows[0])) {
  const lines = [Object.keys(columns), ...rows.map((row) => Object.values(columns).map((pick) => pick(row)))];
  const text = lines.map((cells) => `${cells.map(cellOf).join(",")}\n`).join("");
  writeFileSync(fileURLToPath(new URL(`../../../docs/results/${name}`, import.meta.url)), text);
  return text;
}

function propertiesOf(row) {
  return Object.fromEntries(Object.keys(row).map((key) => [key, (of) => of[key]]));
}

function cellOf(value) {
  if (typeof value === "number") return `${Number(value.toPrecision(DIGITS))}`;
  const text = `${value ?? ""}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Rows as a table of Markdown, numbers to three digits.
 *
 * @param shown Heads by the names of the rows' properties, in order.
 */
export function markdownTable(shown, rows) {
  const keys = Object.keys(shown);
  const lines = [Object.values(shown), keys.map(() => "---"), ...rows.map((row) => keys.map((key) => row[key]))];
  return lines.map((cells) => `| ${cells.map(shortened).join(" | ")} |`).join("\n");
}

function shortened(value) {
  return typeof value === "number" ? Number(value.toPrecision(3)) : value;
}
