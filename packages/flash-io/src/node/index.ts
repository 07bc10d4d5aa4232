export { ThreadedReader } from "../threads/threaded-reader.js";
export {
  type DepthRate,
  type DeviceTuning,
  type MeasureDeviceOptions,
  measureDevice,
  type SizeRate,
} from "./device-tuning.js";
export { openFileReader, type PositionalReads } from "./file-reader.js";
export type { FioEngine } from "./fio.js";
export type { DirectMode } from "./flash-file.js";
export { type FlashReaderOptions, openFlashReader } from "./flash-reader.js";
export { isAlive, keepText } from "./kept-text.js";
export { cacheFolder, keepTuning, readKeptTuning, type TuningPlace } from "./kept-tuning.js";
export { type BestRow, bestRows, type MeasureReadsOptions, measureReads, type ReadRow } from "./read-measurement.js";
export { landingMemory, measureReadRate, type ReadLoad, type ReadRate } from "./read-rate.js";
export { hasRing, type ThreadedReaderOptions } from "./threaded-file.js";
