/** Test support: what a file on disk computes, token by token, in an engine of its own. */
import { type OpenModelOptions, openModel } from "./open-model.js";

/** Logits of each token, and the bytes of flash that all of them read. */
export async function decodeFile(path: string, tokens: readonly number[], options: OpenModelOptions) {
  const model = await openModel(path, options);
  try {
    return await model.withSequence(tokens.length, async (sequence) => {
      const logits: Float32Array[] = [];
      let flashBytes = 0;
      for (const token of tokens) {
        const step = await sequence.decode(token);
        logits.push(step.logits.slice());
        flashBytes += step.stats.flashBytes;
      }
      return { logits, flashBytes };
    });
  } finally {
    await model.close();
  }
}
