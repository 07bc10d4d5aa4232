export type { GrammarLimits, GrammarVocabulary } from "./grammar-thread.js";
export { GrammarThreads, type GrammarThreadsOptions } from "./grammar-threads.js";
export type { ListenOptions } from "./http-listener.js";
export { type RunningServer, type ServeOptions, serveModel } from "./serve-model.js";
