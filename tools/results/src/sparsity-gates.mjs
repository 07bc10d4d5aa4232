// @ts-check
/** When a way of leaving out weights is called good, and what one costs at a given loss. */

/** Those of Engram's replication: KL from dense, nat; top-1 agreement; rise of the negative log-likelihood, nat. */
export const GATES = { kl: 0.05, top1: 0.9, nll: 0.05 };

/** @param {{ readonly kl: number, readonly top1: number, readonly nll_rise: number }} row */
export function passes({ kl, top1, nll_rise }) {
  return kl <= GATES.kl && top1 >= GATES.top1 && nll_rise <= GATES.nll;
}

const MOST_DRAFTS = 16;

/**
 * What a token reads from flash where pruned tokens are drafts and one dense step verifies them, so that the text is the dense model's: with the best
 * number of drafts, if each is accepted as often as the likeliest tokens agree. λ drafts give (1 − α^(λ+1)) / (1 − α) tokens a step.
 *
 * @param {{ readonly top1: number, readonly flash_share: number }} row
 * @param {number} denseShare Of the FFNs' bytes, what a dense step reads from flash.
 */
export function losslessShare({ top1, flash_share }, denseShare) {
  const drafts = Array.from({ length: MOST_DRAFTS + 1 }, (_, count) => count);
  return Math.min(
    ...drafts.map((count) => {
      const tokens = Array.from({ length: count + 1 }, (_, i) => top1 ** i).reduce((sum, share) => sum + share, 0);
      return (count * flash_share + denseShare) / tokens;
    }),
  );
}

/**
 * By curve and cache, what is read at a KL: between its two neighbouring operating points, or beyond its last two, with the logarithm of KL linear in
 * bytes.
 *
 * @param {readonly { readonly curve: string, readonly cache_share: number, readonly kl: number, readonly read_share: number, readonly flash_share: number }[]} rows
 * @param {number} kl
 */
export function readAtKl(rows, kl) {
  const curves = new Set(rows.filter(({ curve }) => curve !== "").map(({ curve }) => curve));
  const caches = new Set(rows.map(({ cache_share }) => cache_share));
  return [...curves].flatMap((curve) =>
    [...caches].flatMap((cache) => {
      const points = rows.filter((row) => row.curve === curve && row.cache_share === cache && row.kl > 0);
      points.sort((a, b) => b.kl - a.kl);
      if (points.length < 2) return [];
      const after = points.findIndex((point) => point.kl <= kl);
      const at = Math.max(1, after < 0 ? points.length - 1 : after);
      const [worse, better] = /** @type {[typeof points[0], typeof points[0]]} */ ([points[at - 1], points[at]]);
      const way = Math.log(worse.kl / kl) / Math.log(worse.kl / better.kl);
      const between = (/** @type {"read_share" | "flash_share"} */ key) =>
        worse[key] + way * (better[key] - worse[key]);
      return [{ curve, cache_share: cache, read_share: between("read_share"), flash_share: between("flash_share") }];
    }),
  );
}
