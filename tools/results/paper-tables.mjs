/**
 * The paper's tables 2 and 3, predicted beside printed; writes docs/results/paper-tables.csv, and the table of docs/results/paper-tables.md:
 *
 *     pnpm build && node tools/results/paper-tables.mjs
 *
 * Nothing is measured: the same page on every machine.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { predictPaperTables } from "@flashwick/cost-model/paper";
import { writeTable } from "./src/results-table.mjs";

const ms = (value) => (value === null || value === undefined ? "" : value >= 100 ? value.toFixed(0) : value.toFixed(1));
const ratio = (a, b) => (a === null || b === null || a === undefined ? "" : (a / b).toFixed(2));

const columns = {
  table: ({ table }) => table,
  model: ({ model }) => model,
  backend: ({ backend }) => backend,
  method: ({ method }) => method,
  io_ms: ({ predicted }) => ms(predicted.ioMs),
  io_printed: ({ printed }) => ms(printed.ioMs),
  memory_ms: ({ predicted }) => ms(predicted.memoryMs),
  memory_printed: ({ printed }) => ms(printed.memoryMs),
  compute_ms: ({ predicted }) => ms(predicted.computeMs),
  compute_printed: ({ printed }) => ms(printed.computeMs),
  total_ms: ({ predicted }) => ms(predicted.totalMs),
  total_printed: ({ printed }) => ms(printed.totalMs),
  ratio: ({ table, predicted, printed }) =>
    table === 2 ? ratio(predicted.ioMs, printed.ioMs) : ratio(predicted.totalMs, printed.totalMs),
};

const predictions = predictPaperTables();
writeTable("paper-tables.csv", predictions, columns);

/** Predicted, and printed in brackets. */
const both = (a, b) => (a === null ? "" : `${ms(a)} (${ms(b)})`);
const pageColumns = {
  table: columns.table,
  model: columns.model,
  backend: columns.backend,
  method: columns.method,
  "I/O ms": ({ predicted, printed }) => both(predicted.ioMs, printed.ioMs),
  "I/O, ratio": ({ predicted, printed }) => ratio(predicted.ioMs, printed.ioMs),
  "memory ms": ({ predicted, printed }) => both(predicted.memoryMs, printed.memoryMs),
  "compute ms": ({ predicted, printed }) => both(predicted.computeMs, printed.computeMs),
  "total ms": ({ predicted, printed }) => both(predicted.totalMs, printed.totalMs),
  "total, ratio": ({ predicted, printed }) => ratio(predicted.totalMs, printed.totalMs),
};
const line = (cells) => `| ${cells.join(" | ")} |`;
const table = [
  line(Object.keys(pageColumns)),
  line(Object.keys(pageColumns).map(() => "---")),
  ...predictions.map((row) => line(Object.values(pageColumns).map((pick) => pick(row)))),
].join("\n");
const page = fileURLToPath(new URL("../../docs/results/paper-tables.md", import.meta.url));
const [before, , after] = readFileSync(page, "utf8").split(/<!-- (?:table|end) -->\n/);
writeFileSync(page, `${before}<!-- table -->\n\n${table}\n\n<!-- end -->\n${after}`);
console.log(table);
