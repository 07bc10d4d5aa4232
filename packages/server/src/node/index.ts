export type { ListenOptions } from "./http-listener.js";
export { type RunningServer, type ServeOptions, serveModel } from "./serve-model.js";
