/** Decoding held-out text token after token, and holding each position's logits against the dense model's. */
import { readFileSync } from "node:fs";

const WINDOWS = 6;
const WINDOW_TOKENS = 256;
/** Of each window, tokens that fill the cache. */
const WARM_UP = 32;

/** Windows of the tokens of a text. */
export function windowsOf(model, textPath) {
  const tokens = model.tokenizer.encode(readFileSync(textPath, "utf8"), false);
  return Array.from({ length: WINDOWS }, (_, w) => tokens.slice(w * WINDOW_TOKENS, (w + 1) * WINDOW_TOKENS));
}

/** By window and token: logits, and what the token cost. */
export async function decodeWindows(model, windows) {
  const decoded = [];
  for (const window of windows) decoded.push(await decode(model, window));
  return decoded;
}

/** Means over all tokens but those that fill the cache: { mean_kl, top1_agreement, flash_bytes_per_token, named_per_token }. */
export function againstDense(references, decoded) {
  const sums = { positions: 0, kl: 0, agree: 0, bytes: 0, named: 0 };
  for (const [w, window] of decoded.entries()) {
    for (let t = WARM_UP; t < window.length; t++) compare(references[w][t], window[t], sums);
  }
  const { positions, kl, agree, bytes, named } = sums;
  return {
    mean_kl: kl / positions,
    top1_agreement: agree / positions,
    flash_bytes_per_token: bytes / positions,
    named_per_token: named / positions,
  };
}

async function decode(model, window) {
  const out = [];
  await model.withSequence(window.length, async (sequence) => {
    for (const token of window) {
      const { logits, stats } = await sequence.decode(token);
      out.push({ logits: logits.slice(), bytes: stats.flashBytes, named: stats.cacheHits + stats.cacheMisses });
    }
  });
  return out;
}

function compare(reference, { logits, bytes, named }, sums) {
  const [p, q] = [reference.logits, logits];
  const [zp, zq] = [logSumExp(p), logSumExp(q)];
  let kl = 0;
  for (let i = 0; i < p.length; i++) kl += Math.exp(p[i] - zp) * (p[i] - zp - (q[i] - zq));
  sums.positions++;
  sums.kl += kl;
  sums.agree += argmax(p) === argmax(q) ? 1 : 0;
  sums.bytes += bytes;
  sums.named += named;
}

function logSumExp(values) {
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}
