/** What the cost model expects of the page's settings, without a weight being read: the plan, and its tokens on a Chromium's private file system. */
import { isFlashwickError } from "@flashwick/core";
import type { ModelStore } from "@flashwick/flash-io/opfs";
import type { Prediction, PredictRequest } from "./messages.js";
import { CONVERSATION, openAsSet } from "./model-opening.js";
import type { Task } from "./task.js";

export async function predict(store: ModelStore, request: PredictRequest, task: Task): Promise<Prediction> {
  const { model: name, prompt, maxTokens, isChat } = request;
  // Nothing is computed: no thread is started for it.
  const settings = { ...request, readers: 0, backend: "wasm", threads: 1 } as const;
  const model = await openAsSet(store, name, settings, task, isChat ? CONVERSATION : undefined);
  try {
    const promptTokens = Math.max(1, model.tokenizer.encode(prompt, true).length);
    const contextTokens = model.contextTokens ?? model.header.geometry.contextLength;
    const decodeTokens = Math.max(1, Math.min(maxTokens, contextTokens - promptTokens));
    const planned = Math.min(contextTokens, promptTokens + decodeTokens);
    const fit = model.cacheFit(planned);
    const smallCache = fit === null || fit.fits ? null : fit;
    const plan = model.plan(planned);
    const expected = model.predict(plan, { promptTokens, decodeTokens });
    if (request.backend === "webgpu") {
      return { fits: true, smallCache, nothing: "nothing is known of this graphics processor's speed" };
    }
    if (expected === null) {
      return { fits: true, smallCache, nothing: "nothing is known of what this model's predictor names" };
    }
    const { tokenMs, msPerToken, flashBytesPerToken, device } = expected;
    const phaseMs = msPerToken as Readonly<Record<string, number>>;
    return { fits: true, smallCache, nothing: null, tokenMs, phaseMs, flashBytesPerToken, device };
  } catch (error) {
    if (!isFlashwickError(error) || error.code !== "BUDGET_TOO_SMALL") throw error;
    return { fits: false, why: error.message };
  } finally {
    await model.close();
  }
}
