/** Every reader of foreign bytes, by name. */
import type { Harness } from "./harness.js";
import { chatTemplate } from "./harnesses/chat-templates.js";
import { checkpointDocuments, configDocument, pickle, safetensorsHeader, torchFile } from "./harnesses/checkpoints.js";
import {
  deviceProfile,
  expertLocality,
  hotExperts,
  sparsityStatistics,
  taskFile,
  traceFile,
} from "./harnesses/documents.js";
import { grammar } from "./harnesses/grammars.js";
import { httpRanges, hubListing } from "./harnesses/hostile-servers.js";
import { keptProfile, prefixFolder, workloadProfile } from "./harnesses/kept-files.js";
import { foreignHeader, ownHeader } from "./harnesses/model-headers.js";
import { serverRequest } from "./harnesses/requests.js";
import { checksumFile, momentsFile, predictorFile } from "./harnesses/sidecars.js";
import { ggufVocabulary, tokenizerDocument } from "./harnesses/tokenizers.js";

export const HARNESSES: readonly Harness[] = [
  ...[ownHeader, foreignHeader, checksumFile, predictorFile, momentsFile],
  ...[safetensorsHeader, torchFile, pickle, configDocument, checkpointDocuments],
  ...[ggufVocabulary, tokenizerDocument, chatTemplate],
  ...[traceFile, hotExperts, deviceProfile, sparsityStatistics, expertLocality, taskFile],
  ...[serverRequest, grammar, httpRanges, hubListing],
  ...[prefixFolder, keptProfile, workloadProfile],
];
