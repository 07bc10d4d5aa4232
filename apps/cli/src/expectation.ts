/** What is expected of a run that is over, where no profile is kept: by a brief one, measured on the side the first time. */
import { isFlashwickError } from "@flashwick/core";
import type { Model } from "@flashwick/runtime";
import { briefProfile } from "@flashwick/runtime/node";
import type { Generation } from "./generation.js";
import type { Report } from "./report.js";

/**
 * The same generation with `stats.predicted`, where the cost model knows enough of it. The run is over and is not touched; close the model before,
 * so that what is measured does not stand beside it in memory. Ctrl-C, and a device that cannot be measured, leave the prediction out, and nothing else.
 *
 * Cost: about a second, once for a machine and a device; under 64 MiB of file, a quarter of that.
 */
export async function withExpectation(
  path: string,
  model: Model,
  made: Generation,
  maxTokens: number,
  { onProgress, terminal }: Report,
): Promise<Generation> {
  if (!isPredictable(model, made)) return made;
  const { signal } = terminal;
  const contextTokens = Math.min(model.header.geometry.contextLength, made.promptTokens + maxTokens);
  const length = { promptTokens: made.promptTokens, decodeTokens: decodedTokens(made) };
  try {
    // A log, which is kept, has no line of it.
    const profile = await briefProfile({ path, signal, ...(terminal.err.isTty && { onProgress }) });
    const predicted = model.predict(model.plan(contextTokens), length, { profile });
    return { ...made, stats: { ...made.stats, predicted } };
  } catch (error) {
    if (signal.aborted || isFlashwickError(error)) return made;
    throw error;
  }
}

/** Whether all that is missing is a profile. */
function isPredictable({ parts }: Model, { stats, finishReason }: Generation): boolean {
  if (stats.predicted !== null || parts.profile || finishReason === "aborted") return false;
  const isPlain = stats.speculation === null && stats.activationBits === null && stats.backend === "wasm";
  // The mean is 0 where nothing was decoded.
  return isPlain && stats.mode !== "oracle" && stats.tokenMs.mean > 0;
}

function decodedTokens({ stats }: Generation): number {
  return Math.round(stats.decodeMs / stats.tokenMs.mean);
}
