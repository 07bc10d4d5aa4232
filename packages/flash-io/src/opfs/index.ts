export { type ImportOptions, ModelStore, type StorageEstimate, type StoredModel } from "./model-store.js";
export { canShareMemory, type OpfsReaderOptions, openOpfsReader } from "./opfs-reader.js";
