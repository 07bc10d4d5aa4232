/**
 * What taking in a prompt costs a mixture: batch after batch, each a pass over its tokens (mixture-cost.ts), so that an expert is read once for all tokens
 * of a batch that need it, and never where none does or it is held.
 */

import type { PrefillCost } from "./cost-figures.js";
import { mixturePassCost } from "./mixture-cost.js";
import type { MixtureShape } from "./mixture-shape.js";
import type { TokenRequest } from "./pass-request.js";

/** Expected cost of `promptTokens`, in batches of `batchTokens`, into a cache that is empty at first. */
export function mixturePrefillCost(
  request: TokenRequest,
  mixture: MixtureShape,
  promptTokens: number,
  batchTokens: number,
): PrefillCost {
  const sum = { flashBytes: 0, readMs: 0, computeMs: 0, totalMs: 0 };
  for (let position = 0; position < promptTokens; position += batchTokens) {
    const tokens = Math.min(batchTokens, promptTokens - position);
    const cost = mixturePassCost({ ...request, position, seenTokens: position }, mixture, tokens);
    sum.flashBytes += cost.flashBytes;
    sum.readMs += cost.readMs;
    sum.computeMs += cost.totalMs - cost.exposedReadMs - cost.checkMs;
    sum.totalMs += cost.totalMs;
  }
  return sum;
}
