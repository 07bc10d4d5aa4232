export type { ModelFile, ModelHeader, RecordTensor, ResidentTensor, TensorRole } from "./model-file.js";
