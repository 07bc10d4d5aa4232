export { type CheckedContent, ContentCheck, type CreateHash, type Hash } from "./content-check.js";
export type { HubOptions } from "./hub-connection.js";
export { hubFolder } from "./hub-folder.js";
export { findModels, type HubModel } from "./hub-models.js";
export {
  type ContentName,
  type HubFile,
  type HubRepository,
  type OpenRepositoryOptions,
  openRepository,
} from "./hub-repository.js";
export { type ModelAddress, parseModelAddress } from "./model-address.js";
