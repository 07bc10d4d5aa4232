export type { DownloadedFile, DownloadOptions } from "./file-download.js";
export { type HubEnvironment, hubEnvironment } from "./hub-environment.js";
export { downloadModel, localFiles, localPath, type ModelDownloadOptions } from "./model-download.js";
