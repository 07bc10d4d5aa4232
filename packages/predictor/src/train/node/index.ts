export {
  DEFAULT_PRELOAD_BYTES,
  FileSampleStore,
  type FileSampleStoreOptions,
  type OpenLayerSamples,
  openFileSamples,
} from "./file-sample-store.js";
