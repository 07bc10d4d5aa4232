/** What a request for a text needs to know of the model: a `Model` without its requests. */
import type { PredictedRun } from "@flashwick/core";
import type { MemoryPlan, RunLength } from "@flashwick/cost-model";
import type { ModelHeader } from "@flashwick/flash-format";
import type { EngineConfig, NeuronMode } from "./engine-config.js";
import type { ModelParts } from "./model-options.js";

import type { TextTokenizer } from "./text-tokenizer.js";

export interface TextModel {
  readonly header: ModelHeader;
  readonly config: EngineConfig;
  readonly parts: ModelParts;
  readonly mode: NeuronMode;
  /** Tokens that every sequence has room for; undefined: what each request needs. */
  readonly contextTokens: number | undefined;
  readonly threading: { readonly threads: number; readonly readers: number; readonly mergeGapBytes: number };
  /** @throws {InputError} `INPUT_NO_TOKENIZER` if the file carries none. */
  readonly tokenizer: TextTokenizer;
  /** Null where nothing can be predicted. */
  predict(plan: MemoryPlan, length: Omit<RunLength, "batchTokens">): PredictedRun | null;
}
