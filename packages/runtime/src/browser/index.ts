export { type OpenBrowserModelOptions, openStoredModel, openUrlModel } from "./open-model.js";
export { type TrainHereOptions, trainHere } from "./train-here.js";
