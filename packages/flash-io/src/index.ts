export type { FlashReader, FlashRun, RunTarget } from "./reader.js";
