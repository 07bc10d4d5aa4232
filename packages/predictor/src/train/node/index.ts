export {
  FileSampleStore,
  type FileSampleStoreOptions,
  type OpenLayerSamples,
  openFileSamples,
} from "./file-sample-store.js";
