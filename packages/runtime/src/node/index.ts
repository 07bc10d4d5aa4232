export { hotExpertsPath } from "./hot-experts-file.js";
export { RESERVE_BYTES, spareMemoryBytes } from "./machine-memory.js";
export { LIMIT_FILE_BYTES, type MeasureLimitOptions, measureLimit } from "./measured-limit.js";
export { type BackendName, kernelsOf, type OpenModelOptions, openModel } from "./open-model.js";
export { openPrefixFolder, type PrefixFolderOptions } from "./prefix-folder.js";
export { keepProfile, readKeptProfile } from "./profile/kept-profile.js";
export { type MeasureProfileOptions, measureProfile } from "./profile/measure-profile.js";
