export { type BackendName, kernelsOf, type OpenModelOptions, openModel, sidecarPath } from "./open-model.js";
