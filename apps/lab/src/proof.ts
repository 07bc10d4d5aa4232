/**
 * Proving it: the same prompt by the sparse path, by a lossless run and by the dense model, greedily, compared token by token.
 *
 * Keys and values have the precision that the memory budget leaves the sparse run, in all of them: nothing is different but the neurons.
 */
import { ffnBytes } from "@flashwick/core";
import type { KvPrecision } from "@flashwick/cost-model";
import type { Model } from "@flashwick/runtime";
import type { GenerateRequest, LosslessProof, Proof, TextPiece } from "./messages.js";

/** How the models of a proof are opened: one after the other, and closed here. */
export interface ProofModels {
  /** As the page's settings say. */
  readonly sparse: () => Promise<Model>;
  readonly dense: (kvPrecision: KvPrecision) => Promise<Model>;
}

export interface ProofOptions {
  /** Called after each token of each run. */
  readonly onToken: (run: string, done: number, total: number) => void;
  readonly signal: AbortSignal;
}

/** What is generated of the prompt. */
interface Task extends ProofOptions {
  readonly prompt: readonly number[];
  readonly tokens: number;
}

/** The same prompt dense and sparse: greedy by the sparse run, the dense one shown the same tokens; and lossless beside what dense says by itself. */
export async function prove(
  models: ProofModels,
  { prompt, maxTokens }: Pick<GenerateRequest, "prompt" | "maxTokens">,
  options: ProofOptions,
): Promise<Proof> {
  const sparse = await closing(await models.sparse(), async (model) => {
    const ids = model.tokenizer.encode(prompt, true);
    const tokens = Math.min(maxTokens, model.header.geometry.contextLength - ids.length);
    const task = { ...options, prompt: ids, tokens };
    const forced = await decodeGreedily(model, task, null, "sparse");
    const lossless = model.mode === "predicted" ? await generateGreedily(model, task, "lossless") : null;
    return { task, forced, lossless, kvPrecision: model.plan(ids.length + tokens).kvPrecision };
  });
  const { task, lossless, kvPrecision } = sparse;
  const dense = await closing(await models.dense(kvPrecision), async (model) => {
    const forced = await decodeGreedily(model, task, sparse.forced.tokens, "dense");
    const alone = lossless === null ? null : await generateGreedily(model, task, "dense, by itself");
    const { geometry, weights } = model.header;
    return { forced, alone, naiveBytesPerToken: ffnBytes(geometry, weights) };
  });
  let [agree, kl] = [0, 0];
  for (const [i, p] of dense.forced.logits.entries()) {
    const q = sparse.forced.logits[i]!;
    if (argmax(p) === argmax(q)) agree++;
    kl += divergence(p, q);
  }
  const count = dense.forced.logits.length;
  return {
    tokens: count,
    agreement: agree / count,
    meanKl: kl / count,
    sparseBytes: sparse.forced.flashBytes / count,
    denseBytes: dense.naiveBytesPerToken,
    kvPrecision,
    sparseText: sparse.forced.text,
    denseText: dense.forced.text,
    lossless: lossless && compareTokens(lossless, dense.alone!),
  };
}

async function closing<T>(model: Model, work: (model: Model) => Promise<T>): Promise<T> {
  try {
    return await work(model);
  } finally {
    await model.close();
  }
}

/** @param forced Tokens that are shown to the model; null: its own likeliest ones. `text` is of its own choices. */
async function decodeGreedily(model: Model, task: Task, forced: readonly number[] | null, run: string) {
  const { prompt, tokens: count, onToken, signal } = task;
  return await model.withSequence(prompt.length + count, async (sequence) => {
    const first = await sequence.prefill(prompt, signal);
    const logits = [first.logits];
    const tokens: number[] = [];
    const own: number[] = [];
    let flashBytes = 0;
    for (let i = 0; i < count; i++) {
      const likeliest = argmax(logits.at(-1)!);
      own.push(likeliest);
      tokens.push(forced?.[i] ?? likeliest);
      const step = await sequence.decode(tokens[i]!, signal);
      logits.push(step.logits.slice());
      flashBytes += step.stats.flashBytes;
      onToken(run, i + 1, count);
      signal.throwIfAborted();
    }
    return { tokens, text: model.tokenizer.decode(own), logits, flashBytes };
  });
}

/** A text, and what became of its drafts. */
interface GreedyText extends Pick<LosslessProof, "drafted" | "accepted" | "steps"> {
  readonly tokens: readonly number[];
  readonly pieces: readonly TextPiece[];
  readonly flashBytes: number;
}

async function generateGreedily(model: Model, task: Task, run: "lossless" | "dense, by itself"): Promise<GreedyText> {
  const { prompt, tokens: maxTokens, onToken, signal } = task;
  const lossless = run === "lossless";
  const tokens: number[] = [];
  const pieces: TextPiece[] = [];
  let [drafted, accepted, steps, flashBytes] = [0, 0, 0, 0];
  for await (const item of model.generate(prompt, { maxTokens, ignoreEos: true, lossless, signal })) {
    const { step, token, text } = item;
    if (text !== "") pieces.push({ text, isDraft: (step?.row ?? 0) > 0 });
    if (token === null) continue;
    tokens.push(token);
    if (step?.row === 0) {
      steps++;
      drafted += step.drafts.length;
      accepted += step.accepted;
      flashBytes += step.stats.flashBytes;
    }
    onToken(run, tokens.length, maxTokens);
  }
  return { tokens, pieces, drafted, accepted, steps, flashBytes };
}

function compareTokens(lossless: GreedyText, dense: GreedyText): LosslessProof {
  const { tokens, pieces, drafted, accepted, steps, flashBytes } = lossless;
  const differing = dense.tokens.findIndex((token, i) => token !== tokens[i]);
  return {
    tokens: dense.tokens.length,
    equalTokens: differing < 0 ? dense.tokens.length : differing,
    drafted,
    accepted,
    steps,
    bytesPerToken: flashBytes / Math.max(1, accepted + steps),
    pieces,
    denseText: dense.pieces.map(({ text }) => text).join(""),
  };
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** KL(p ‖ q) of two distributions given by logits, nats. */
function divergence(p: Float32Array, q: Float32Array): number {
  const [zp, zq] = [logSumExp(p), logSumExp(q)];
  let sum = 0;
  for (let i = 0; i < p.length; i++) sum += Math.exp(p[i]! - zp) * (p[i]! - zp - (q[i]! - zq));
  return sum;
}

function logSumExp(values: Float32Array): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) most = Math.max(most, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - most);
  return most + Math.log(sum);
}
