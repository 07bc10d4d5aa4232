export { type PaperRow, predictPaperTables } from "./predicted-rows.js";
export {
  type PaperBackend,
  type PaperMethod,
  type PaperPhases,
  PRINTED_ROWS,
  type PrintedRow,
} from "./printed-rows.js";
