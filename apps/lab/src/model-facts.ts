/** What a stored model is and offers, from its header alone. */
import { type FfnLayout, isFlashwickError, type ModelGeometry, unitsByLayer } from "@flashwick/core";
import type { ModelStore } from "@flashwick/flash-io/opfs";
import type { Model } from "@flashwick/runtime";
import { openStoredModel } from "@flashwick/runtime/browser";
import type { ExpertFacts, ModelFacts, WeightForm } from "./messages.js";
import { CONVERSATION, mapOf } from "./model-opening.js";

export async function describeModel(store: ModelStore, name: string): Promise<ModelFacts> {
  // Nothing is computed, and nothing but the header is read.
  const model = await openStoredModel(store, name, { mode: "dense", threads: 1, reader: { readers: 0 } });
  try {
    const { geometry, weights, fileBytes } = model.header;
    const contextTokens = Math.min(CONVERSATION.least, geometry.contextLength);
    return {
      name,
      fileBytes,
      architecture: geometry.architecture,
      nLayers: geometry.layers.length,
      dtype: weights.dtype,
      weights: formOf(weights),
      experts: expertFacts(geometry),
      noChat: whyNoChat(model),
      leastBudgetBytes: model.plan(contextTokens).smallestBudgetBytes,
      map: formOf(weights) === "matrices" ? null : mapOf(geometry),
    };
  } finally {
    await model.close();
  }
}

function formOf({ layout }: FfnLayout): WeightForm {
  if (layout === "bundled" || layout === "split") return "records";
  // The lab has no pruning plans: it streams columns as it streams matrices.
  return layout === "columns" ? "matrices" : layout;
}

function expertFacts(geometry: ModelGeometry): ExpertFacts | null {
  const mixtures = geometry.layers.flatMap(({ experts }) => experts ?? []);
  if (mixtures.length === 0) return null;
  const chosen = Math.max(...mixtures.map((experts) => experts.chosen));
  return { layers: mixtures.length, count: Math.max(...unitsByLayer(geometry)), chosen };
}

/** Null where there can be a chat. */
function whyNoChat(model: Model): string | null {
  if (model.header.tokenizerKind === null) return "the file has no tokenizer";
  try {
    void model.chatTemplate;
    return null;
  } catch (error) {
    if (!isFlashwickError(error)) throw error;
    return error.code === "INPUT_NO_CHAT_TEMPLATE" ? "the file has no chat template" : error.message;
  }
}
