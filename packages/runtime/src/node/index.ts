export { hotExpertsPath } from "./hot-experts-file.js";
export { RESERVE_BYTES, spareMemoryBytes } from "./machine-memory.js";
export { LIMIT_FILE_BYTES, type MeasureLimitOptions, measureLimit } from "./measured-limit.js";
export { nodeGpuName } from "./node-device.js";
export { type BackendName, kernelsOf, type OpenModelOptions, openModel } from "./open-model.js";
export { openPrefixFolder, type PrefixFolderOptions } from "./prefix-folder.js";
export { briefProfile } from "./profile/brief-profile.js";
export { keepProfile, readKeptProfile } from "./profile/kept-profile.js";
export { type MeasureProfileOptions, measureBriefProfile, measureProfile } from "./profile/measure-profile.js";
