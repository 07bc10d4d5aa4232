/**
 * The arithmetic of a step around the FFN: embedding, norms, attention, head. Row t of every buffer belongs to token t of the step; rows of one
 * sequence lie together.
 */
import { assert, kvWidth, type ModelGeometry, queryWidth } from "@flashwick/core";
import type { ModelFile } from "@flashwick/flash-format";
import type { FlashReader } from "@flashwick/flash-io";
import type { Kernels, Ptr } from "@flashwick/kernels";
import type { ArenaContext } from "./arena-context.js";
import type { EngineLayer, MatrixLayer } from "./engine-layer.js";
import type { KvPool } from "./kv-pool.js";
import type { StreamPass } from "./layer-matrices.js";
import { planRotaryTables, type RotaryTablePlan } from "./position-tables.js";
import type { GlobalWeights, Norm } from "./resident-weights.js";
import { RowTable } from "./row-table.js";
import type { TokenMeter } from "./token-meter.js";
import { vectorBytes } from "./vector-bytes.js";
import { logitsBatch } from "./workspace.js";

/** Consecutive tokens of one sequence in a step. */
export interface StepSegment {
  /** The sequence's page table. */
  readonly table: number;
  /** Of its first token in the step, and of that token in the sequence. */
  readonly row: number;
  readonly position: number;
  readonly tokens: readonly number[];
}

export class ForwardPass {
  readonly #geometry: ModelGeometry;
  /** The first arena's, where embeddings and head are. */
  readonly #first: ArenaContext;
  readonly #globals: GlobalWeights;
  readonly #pool: KvPool;
  readonly #embeddings: RowTable;
  readonly #positions: RowTable | null;
  readonly #batchTokens: number;
  readonly #rotaryTables: RotaryTablePlan;

  constructor(
    file: ModelFile,
    reader: FlashReader,
    first: ArenaContext,
    globals: GlobalWeights,
    pool: KvPool,
    { batchTokens, contextTokens }: { readonly batchTokens: number; readonly contextTokens: number },
  ) {
    this.#geometry = file.header.geometry;
    this.#rotaryTables = planRotaryTables(this.#geometry, contextTokens);
    this.#first = first;
    this.#globals = globals;
    this.#pool = pool;
    this.#batchTokens = batchTokens;
    this.#embeddings = new RowTable(file, "token_embd.weight", globals.embeddings, reader);
    this.#positions = this.#geometry.embedding.positions
      ? new RowTable(file, "position_embd.weight", globals.positions, reader)
      : null;
  }

  /** Checks the tables that stay on flash. @throws {IntegrityError} `INTEGRITY_TENSOR`. */
  async verifyTables(signal?: AbortSignal): Promise<void> {
    await this.#embeddings.verify(signal);
    await this.#positions?.verify(signal);
  }

  /** hidden = embeddings (+ positions), in the first arena. */
  async embed(segments: readonly StepSegment[], meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { kernels, workspace: w } = this.#first;
    const { projectIn } = this.#globals;
    const tokens = segments.flatMap((segment) => segment.tokens);
    const into = projectIn ? w.embedding : w.hidden;
    await this.#embeddings.gather(kernels, into, tokens, w.rows, meter, signal);
    if (projectIn) kernels.linear(w.hidden, w.embedding, projectIn, 0, tokens.length, w.scratch);
    const { embedding, dModel } = this.#geometry;
    const elements = (tokens.length * vectorBytes(dModel)) / 4;
    if (embedding.scale !== 1) kernels.scale(w.hidden, elements, embedding.scale);
    if (!this.#positions || !embedding.positions) return;
    const { offset } = embedding.positions;
    const rows = segments.flatMap(({ position, tokens: own }) => own.map((_, i) => position + i + offset));
    await this.#positions.gather(kernels, w.blockOut, rows, w.rows, meter, signal);
    kernels.add(w.hidden, w.blockOut, elements);
  }

  /** Where attention and FFN read the same residual stream: normed = beforeAttention(hidden), and the FFN's input. */
  normParallel({ context, weights }: EngineLayer, n: number): void {
    const { kernels, workspace: w } = context;
    const { beforeAttention, beforeFfn } = weights.norms;
    this.#norm(kernels, w.normed, w.hidden, beforeAttention, n);
    if (beforeFfn) this.#norm(kernels, w.ffnInput, w.hidden, beforeFfn, n);
  }

  /** hidden = attentionSum(hidden + afterAttention(W_o · attention(beforeAttention(hidden)))). */
  attend(layer: EngineLayer, segments: readonly StepSegment[], pass: StreamPass): void | Promise<void> {
    const { kernels, workspace: w } = layer.context;
    const { norms, query, key, value, attnOutput } = layer.weights;
    const n = pass.nTokens;
    if (!layer.geometry.parallel) this.#norm(kernels, w.normed, w.hidden, norms.beforeAttention, n);
    const x = norms.beforeAttention ? w.normed : w.hidden;
    if (layer.storage === "matrices") return this.#attendThrough(layer, segments, x, pass);
    kernels.linear(w.query, x, query.weight!, query.bias, n, w.scratch);
    kernels.linear(w.key, x, key.weight!, key.bias, n, w.scratch);
    kernels.linear(w.value, x, value.weight!, value.bias, n, w.scratch);
    this.#mix(layer, segments, n);
    kernels.linear(w.blockOut, w.mixed, attnOutput.weight!, attnOutput.bias, n, w.scratch);
    this.#addBlock(layer, norms.afterAttention, norms.attentionSum, n);
  }

  /** The same through matrices that may be streamed. */
  async #attendThrough(layer: MatrixLayer, segments: readonly StepSegment[], x: Ptr, pass: StreamPass): Promise<void> {
    const { workspace: w } = layer.context;
    const { norms, query, key, value, attnOutput } = layer.weights;
    await layer.streamed.multiply("query", w.query, x, query.bias, pass);
    await layer.streamed.multiply("key", w.key, x, key.bias, pass);
    await layer.streamed.multiply("value", w.value, x, value.bias, pass);
    this.#mix(layer, segments, pass.nTokens);
    await layer.streamed.multiply("output", w.blockOut, w.mixed, attnOutput.bias, pass);
    this.#addBlock(layer, norms.afterAttention, norms.attentionSum, pass.nTokens);
  }

  /** mixed = the attention of all rows over their sequences. */
  #mix(layer: EngineLayer, segments: readonly StepSegment[], n: number): void {
    this.#normHeads(layer, n);
    for (const segment of segments) this.#attendSegment(layer, segment);
  }

  /** Queries and keys normed, each head by itself or all at once. */
  #normHeads({ context, geometry, weights }: EngineLayer, n: number): void {
    const { kernels, workspace: w } = context;
    const { queryKeyNorm, nHeads, nKvHeads, headDim } = geometry.attention;
    const { queryNorm, keyNorm } = weights;
    if (!queryKeyNorm || !queryNorm || !keyNorm) return;
    if (queryKeyNorm.over === "width") {
      this.#norm(kernels, w.query, w.query, queryNorm, n, nHeads * headDim);
      this.#norm(kernels, w.key, w.key, keyNorm, n, nKvHeads * headDim);
      return;
    }
    const { kind, epsilon } = queryKeyNorm.norm;
    kernels.normHeads(w.query, { kind, epsilon, weight: queryNorm.weight, bias: queryNorm.bias }, nHeads, headDim, n);
    kernels.normHeads(w.key, { kind, epsilon, weight: keyNorm.weight, bias: keyNorm.bias }, nKvHeads, headDim, n);
  }

  /** mixed = attention of the rows of one sequence over its own keys and values, which it stores first. */
  #attendSegment(layer: EngineLayer, { table, row, position, tokens }: StepSegment): void {
    const { kernels, workspace: w } = layer.context;
    const { attention } = layer.geometry;
    const { nHeads, nKvHeads, headDim, scale, alibi, rotary, windowTokens } = attention;
    const count = tokens.length;
    const queries = row * vectorBytes(queryWidth(attention));
    const keys = row * vectorBytes(kvWidth(attention));
    if (rotary) {
      const { dims, pairs } = rotary;
      const offset = this.#rotaryTables.offsetOfLayer[layer.index]!;
      const tables = { cos: w.rotaryCos + offset, sin: w.rotarySin + offset, headDim, dims, pairs };
      kernels.rotate(w.query + queries, tables, nHeads, position, count);
      kernels.rotate(w.key + keys, tables, nKvHeads, position, count);
    }
    const kv = this.#pool.cacheOf(table, layer.index);
    kernels.storeKv(kv, w.key + keys, w.value + keys, position, count);
    const slopes = alibi ? w.alibiSlopes : 0;
    const shape = { nHeads, scale, slopes, windowTokens, sinks: layer.weights.sinks };
    kernels.attention(w.mixed + queries, w.query + queries, kv, shape, position, count, w.scratch);
  }

  /** The input of an FFN that comes after attention: beforeFfn(hidden), or the residual stream as it is. */
  normFfnInput({ context, weights }: EngineLayer, n: number): void {
    const { kernels, workspace: w } = context;
    const { beforeFfn } = weights.norms;
    if (beforeFfn) this.#norm(kernels, w.ffnInput, w.hidden, beforeFfn, n);
    else assert(w.ffnInput === w.hidden, "the FFN reads the residual stream in place");
  }

  /** blockOut = 0: what the FFN's sum begins with. */
  clearFfnOutput({ context }: EngineLayer, n: number): void {
    context.kernels.zero(context.workspace.blockOut, (n * vectorBytes(this.#geometry.dModel)) / 4);
  }

  /** hidden = ffnSum(hidden + afterFfn(blockOut + bias)), blockOut being the sum over neurons. */
  addFfnOutput(layer: EngineLayer, n: number): void {
    const { kernels, workspace: w } = layer.context;
    const { downBias, norms } = layer.weights;
    const { dModel } = this.#geometry;
    // Unlike the paper's Algorithm, b_down is added after the sum over neurons: it belongs to no neuron.
    const padded = (dModel + 3) & ~3;
    for (let t = 0; downBias !== 0 && t < n; t++) {
      kernels.add(w.blockOut + t * vectorBytes(dModel), downBias, padded);
    }
    this.#addBlock(layer, norms.afterFfn, norms.ffnSum, n);
  }

  /** hidden = sum(hidden + after(blockOut)). */
  #addBlock({ context }: EngineLayer, after: Norm | null, sum: Norm | null, n: number): void {
    const { kernels, workspace: w } = context;
    this.#norm(kernels, w.blockOut, w.blockOut, after, n);
    kernels.add(w.hidden, w.blockOut, (n * vectorBytes(this.#geometry.dModel)) / 4);
    this.#norm(kernels, w.hidden, w.hidden, sum, n);
  }

  /** Copies the residual stream from one arena to another. */
  async carry(source: ArenaContext, target: ArenaContext, n: number): Promise<void> {
    const bytes = n * vectorBytes(this.#geometry.dModel);
    const { hidden } = source.workspace;
    await source.kernels.take(hidden, bytes);
    target.arena.bytes.set(source.arena.bytes.subarray(hidden, hidden + bytes), target.workspace.hidden);
    target.kernels.put(target.workspace.hidden, bytes);
  }

  /** Hands out the logits of rows `first` … `end` − 1; each is valid during the call only. */
  async head(first: number, end: number, onLogits: (row: number, logits: Float32Array) => void): Promise<void> {
    const { vocabSize, dModel } = this.#geometry;
    const { kernels, workspace: w } = this.#first;
    const { finalNorm, projectOut, head, headBias } = this.#globals;
    const chunk = logitsBatch(this.#batchTokens);
    for (let t = first; t < end; t += chunk) {
      const count = Math.min(chunk, end - t);
      let x = w.hidden + t * vectorBytes(dModel);
      if (finalNorm) {
        this.#norm(kernels, w.normed, x, finalNorm, count);
        x = w.normed;
      }
      if (projectOut) {
        kernels.linear(w.embedding, x, projectOut, 0, count, w.scratch);
        x = w.embedding;
      }
      kernels.linear(w.logits, x, head, headBias, count, w.scratch);
      const pending = kernels.take(w.logits, count * vectorBytes(vocabSize));
      if (pending) await pending;
      for (let i = 0; i < count; i++) {
        onLogits(t + i, kernels.arena.f32(w.logits + i * vectorBytes(vocabSize), vocabSize));
      }
    }
  }

  /** out = norm(x), rows of `cols` elements; nothing where there is no norm. out may be x. */
  #norm(kernels: Kernels, out: Ptr, x: Ptr, norm: Norm | null, n: number, cols = this.#geometry.dModel): void {
    if (!norm) return;
    const { kind, epsilon } = norm.geometry;
    if (kind === "rms") kernels.rmsNorm(out, x, norm.weight, cols, n, epsilon);
    else kernels.layerNorm(out, x, norm.weight, norm.bias, cols, n, epsilon);
  }
}
