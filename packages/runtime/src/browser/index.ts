export { type OpenBrowserModelOptions, openStoredModel, openUrlModel } from "./open-model.js";
