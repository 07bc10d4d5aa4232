export { isLoopback } from "./allowed-host.js";
export { ApiError, type ApiErrorFacts, type ErrorDocument } from "./api-error.js";
export { ModelServer } from "./model-server.js";
export { describeModel, type ServedModel } from "./served-model.js";
export { ServerMetrics } from "./server-metrics.js";
export type { RequestRecord, ServerOptions } from "./server-options.js";
export type { GrammarSource, TextGrammar } from "./text-grammar.js";
export type { TextRunner } from "./text-run.js";
export { readTokenBytes, type TokenBytes } from "./token-bytes.js";
