/**
 * One model in DRAM under one memory plan: arenas, resident weights, slots, keys and values, and the forward pass.
 *
 * The life of a token (ARCHITECTURE.md): embed -> per layer: norm, attention, predictor names A_t, cache plans, flash
 * fills slots, sparse FFN, residual add -> final norm -> head. Where attention and FFN are parallel (Falcon), the predictor comes before
 * attention, and flash fills slots meanwhile. A batch of tokens (prefill, scoring) streams whole layers
 * and multiplies matrices; it gives the same bits as its tokens one by one.
 */
import { assert, eventLoopTurn, type TokenStats } from "@flashwick/core";
import { createNeuronCache, type NeuronCache } from "@flashwick/dram-cache";
import { readRecordChecksums } from "@flashwick/flash-format";
import { Arena, type Kernels, type KvCache, type Ptr } from "@flashwick/kernels";
import { nameNeurons, type PlacedPredictor, placePredictor } from "@flashwick/predictor";
import { planArenas } from "./arena-plan.js";
import { cachePolicy } from "./cache-policy.js";
import { type EngineParts, largestArena, mergeGapBytes } from "./engine-parts.js";
import { type EngineSizes, engineSizes, SLOT_ALIGNMENT } from "./engine-sizes.js";
import { EVENT_LOOP_WAIT_MS } from "./event-loop.js";
import { FlashLayer } from "./flash-layer.js";
import { allocateKvCaches } from "./kv-allocation.js";
import { landAll } from "./landing.js";
import { StreamAhead } from "./layer-stream.js";
import { fillPositionTables } from "./position-tables.js";
import { type GlobalWeights, type LayerWeights, type Norm, ResidentLoader } from "./resident-weights.js";
import { RowTable } from "./row-table.js";
import { TokenMeter, type TokenSpan } from "./token-meter.js";
import { allocateWorkspace, logitsBatch, type Workspace } from "./workspace.js";

/** Looks into a forward pass; everything is optional. Pointers are into `kernels.arena` and valid during the call only. */
export interface ForwardObserver {
  /** FFN input of every token: f32 `[nTokens, pad(dModel)]`. May be waited for: it may ask for predicted sets. */
  ffnInput?(layer: number, x: Ptr, nTokens: number, kernels: Kernels): void | Promise<void>;
  /** Activations of neurons `first` … `first + count − 1`: f32 `[nTokens, pad(count)]`. May be changed in place. Batches only. */
  activations?(layer: number, first: number, count: number, act: Ptr, nTokens: number, kernels: Kernels): void;
  /** The set that the FFN uses for one decoded token, before the cache makes room for it. */
  named?(layer: number, named: Uint32Array, engine: Engine): void;
  /** Each phase and each flight of reads as it ends. */
  span?(span: TokenSpan): void;
}

export interface ForwardOptions {
  /** Which tokens' logits are wanted. */
  readonly logits: "none" | "last" | "all";
  readonly onLogits?: (token: number, logits: Float32Array) => void;
  readonly observer?: ForwardObserver | undefined;
  /** Batches only: fill the caches from the last tokens afterwards. */
  readonly seedTokens?: number;
  readonly signal?: AbortSignal | undefined;
}

interface EngineLayer {
  readonly arena: number;
  readonly weights: LayerWeights;
  readonly kv: KvCache;
  readonly predictor: PlacedPredictor | null;
  readonly flash: FlashLayer;
}

/** One arena with the kernels and buffers that work in it. */
interface Workshop {
  readonly arena: Arena;
  readonly kernels: Kernels;
  readonly workspace: Workspace;
}

/** Part of one layer's work. */
type LayerWork = (layer: number, workshop: Workshop, flash: FlashLayer, arena: number) => Promise<void>;

export class Engine {
  readonly parts: EngineParts;
  readonly meter: TokenMeter;
  readonly #sizes: EngineSizes;
  readonly #workshops: readonly Workshop[];
  readonly #layers: readonly EngineLayer[];
  readonly #globals: GlobalWeights;
  readonly #positions: RowTable | null;
  readonly #embeddings: RowTable;
  /** Room for the oracle to look at whole layers aside of the cache; one per arena. */
  readonly #stages: readonly Ptr[];
  readonly #loader: ResidentLoader;
  readonly #ahead: StreamAhead;
  /** When the event loop last had a turn. */
  #lastTurnMs = 0;

  private constructor(
    parts: EngineParts,
    sizes: EngineSizes,
    workshops: readonly Workshop[],
    layers: readonly EngineLayer[],
    globals: GlobalWeights,
    stages: readonly Ptr[],
    loader: ResidentLoader,
  ) {
    this.parts = parts;
    this.#sizes = sizes;
    this.#workshops = workshops;
    this.#layers = layers;
    this.#globals = globals;
    this.#stages = stages;
    this.#loader = loader;
    this.meter = new TokenMeter(parts.clock);
    this.#ahead = new StreamAhead(
      layers.map(({ flash }) => flash),
      parts.readAhead ?? true,
      this.meter,
    );
    const { file, reader } = parts;
    this.#embeddings = new RowTable(file, "token_embd.weight", globals.embeddings, reader);
    this.#positions =
      file.header.geometry.positions === "learned"
        ? new RowTable(file, "position_embd.weight", globals.positions, reader)
        : null;
  }

  /** Neurons that a layer's slots hold at present, in no order. Empty where all are held, and no cache decides. Cost: a copy. */
  residentNeurons(layer: number): Uint32Array {
    const { pointer, numUsed } = this.#layers[layer]!.flash.parts.cache;
    return pointer.slice(0, numUsed);
  }

  /** Allocates what the plan says, and loads the resident weights. */
  static async create(parts: EngineParts): Promise<Engine> {
    const sizes = engineSizes(parts.file.header, parts.predictor, parts.plan, parts.mode, parts);
    const arenas = planArenas(sizes.layerBytes, sizes.globalBytes, sizes.perArenaBytes, largestArena(parts));
    assert(arenas.bytesByArena.length <= sizes.arenas, "the memory plan accounts for every arena");
    const shared = parts.sharedMemory || parts.reader.needsSharedMemory;
    const workshops: Workshop[] = [];
    try {
      for (const bytes of arenas.bytesByArena) {
        const arena = new Arena(bytes, shared);
        const kernels = parts.kernels(arena);
        const workspace = allocateWorkspace(arena, sizes.workspace, kernels);
        fillPositionTables(kernels, workspace, sizes.workspace.geometry, sizes.workspace.contextTokens);
        workshops.push({ arena, kernels, workspace });
      }
      return await Engine.#load(parts, sizes, arenas.arenaOfLayer, workshops);
    } catch (error) {
      releaseArenas(parts, workshops);
      throw error;
    }
  }

  static async #load(
    parts: EngineParts,
    sizes: EngineSizes,
    arenaOfLayer: readonly number[],
    workshops: readonly Workshop[],
  ): Promise<Engine> {
    const { header } = parts.file;
    const { geometry, weights } = header;
    const pages = (bytes: number) =>
      workshops.map(({ arena }) => (bytes === 0 ? 0 : arena.allocate(bytes - SLOT_ALIGNMENT, SLOT_ALIGNMENT)));
    const stages = pages(sizes.stageBytes);
    const gaps = pages(sizes.gapBytes);
    // Slots of an arena's layers lie in one block, so that only its start is rounded up to a page.
    const slotTops = workshops.map(({ arena }, a) => {
      const slots = parts.plan.slotsByLayer.filter((_, layer) => arenaOfLayer[layer] === a);
      return arena.allocate(
        slots.reduce((sum, n) => sum + n * weights.slotBytes, 0),
        SLOT_ALIGNMENT,
      );
    });
    const kvCaches = workshops.flatMap(({ kernels }, a) => {
      const layerCount = arenaOfLayer.filter((arena) => arena === a).length;
      return allocateKvCaches(kernels, layerCount, geometry, parts.plan.kvPrecision, parts.plan.contextTokens);
    });
    const all = Uint32Array.from({ length: geometry.dFf }, (_, i) => i);
    const reordered = new Float32Array(geometry.dFf);
    const loader = new ResidentLoader(parts.file);
    const globals = loader.globals(workshops[0]!.arena, parts.plan.rowTablesResident);
    const layers: EngineLayer[] = [];
    for (let layer = 0; layer < geometry.nLayers; layer++) {
      const arenaIndex = arenaOfLayer[layer]!;
      const { arena, kernels, workspace } = workshops[arenaIndex]!;
      const layerWeights = loader.layer(arena, layer);
      const predictor = parts.mode === "predicted" ? await loadPredictorLayer(parts, layer, kernels) : null;
      const slotCount = parts.plan.slotsByLayer[layer]!;
      const slotBase = slotTops[arenaIndex]!;
      slotTops[arenaIndex] = slotBase + slotCount * weights.slotBytes;
      const flash = new FlashLayer({
        layer,
        kernels,
        workspace,
        reader: parts.reader,
        records: header.records[layer]!,
        weights,
        dModel: geometry.dModel,
        dFf: geometry.dFf,
        activation: geometry.activation,
        cache: createNeuronCache({ dFf: geometry.dFf, slotCount, policy: cachePolicy(parts.policy, geometry.dFf) }),
        slotBase,
        all,
        slotBias: layerWeights.upBias === 0 ? 0 : arena.allocate(4 * slotCount),
        upBias: layerWeights.upBias,
        checksums: await readRecordChecksums(parts.file, layer, parts.signal),
        reordered,
        gap: { maxGapBytes: mergeGapBytes(parts), gapPtr: gaps[arenaIndex]! },
        overlap: parts.overlap ?? true,
      });
      layers.push({ arena: arenaIndex, weights: layerWeights, kv: kvCaches[layer]!, predictor, flash });
    }
    const engine = new Engine(parts, sizes, workshops, layers, globals, stages, loader);
    await engine.loadResident(parts.signal);
    await engine.#embeddings.verify(parts.signal);
    await engine.#positions?.verify(parts.signal);
    return engine;
  }

  /**
   * Reads the resident weights, again if they are there already: what a reader that keeps nothing does for every token.
   *
   * @returns What was read.
   */
  async loadResident(signal?: AbortSignal): Promise<{ readonly bytes: number; readonly reads: number }> {
    const { reader, onLoaded } = this.parts;
    const { totalBytes } = this.#loader;
    let loaded = 0;
    const kernelsOf = (arena: Arena) => this.#workshops.find((workshop) => workshop.arena === arena)!.kernels;
    const onBytes = async (bytes: number) => {
      onLoaded?.((loaded += bytes), totalBytes);
      await this.#giveWay(signal);
    };
    onLoaded?.(0, totalBytes);
    return await this.#loader.load(kernelsOf, reader, onBytes, signal);
  }

  get batchTokens(): number {
    return this.parts.plan.batchTokens;
  }

  /** The cache of each layer, for counters and displays. */
  get caches(): readonly NeuronCache[] {
    return this.#layers.map(({ flash }) => flash.parts.cache);
  }

  /** Bytes taken in arenas: at most what the plan accounts for. */
  get arenaBytes(): number {
    return this.#workshops.reduce((sum, { arena }) => sum + arena.sizeBytes, 0);
  }

  /**
   * Runs a batch of tokens through all neurons (prefill, scoring): layers are streamed in order.
   *
   * @param tokens   At most `batchTokens`, each below the vocabulary size; checked by the caller.
   * @param position Of the first token; keys and values of all earlier ones are stored.
   */
  async batch(tokens: readonly number[], position: number, options: ForwardOptions): Promise<TokenStats> {
    assert(tokens.length <= this.batchTokens, "a batch fits the workspace");
    const { observer } = options;
    this.meter.begin(spansOf(observer));
    return await this.#forward(tokens, position, options, async (layer, { kernels, workspace }, flash) => {
      await this.#showFfnInput(observer, layer, kernels, workspace, tokens.length);
      const onActivations = observer?.activations
        ? (l: number, first: number, count: number, act: Ptr, n: number) =>
            observer.activations!(l, first, count, act, n, kernels)
        : undefined;
      const wanted = this.parts.mode === "predicted" ? (options.seedTokens ?? 0) : 0;
      const last = wanted > 0 ? await this.#lastSets(layer, tokens.length, wanted) : [];
      const { blockOut, ffnInput } = workspace;
      const { signal } = options;
      await flash.dense(blockOut, ffnInput, tokens.length, this.#ahead, this.meter, onActivations, last, signal);
      if (last.length > 0) await flash.seed(last, this.#ahead, this.meter, signal);
    });
  }

  /** Decodes one token through the neuron cache, in the engine's mode. */
  async decode(token: number, position: number, options: ForwardOptions): Promise<TokenStats> {
    const { signal, observer } = options;
    this.meter.begin(spansOf(observer));
    const admit: LayerWork = async (layer, { workspace }, flash, arena) => {
      const named = await this.#name(layer, workspace.ffnInput, arena, signal);
      observer?.named?.(layer, named, this);
      await flash.admit(named, this.meter, signal);
    };
    const early = this.#beforeAttention(admit, signal);
    const ffn: LayerWork = async (layer, workshop, flash, arena) => {
      const { blockOut, ffnInput } = workshop.workspace;
      await this.#showFfnInput(observer, layer, workshop.kernels, workshop.workspace, 1);
      if (this.parts.mode === "dense") {
        await flash.dense(blockOut, ffnInput, 1, this.#ahead, this.meter, undefined, [], signal);
        return;
      }
      if (early !== admit) await admit(layer, workshop, flash, arena);
      await flash.compute(blockOut, ffnInput, this.meter, signal);
    };
    return await this.#forward([token], position, options, ffn, early);
  }

  /**
   * What makes a decoded token's reads fly during attention. In a parallel block the FFN's input is known before attention: it is named, admitted and
   * begun to read, once and for all. Elsewhere it is guessed. Undefined: nothing.
   */
  #beforeAttention(admit: LayerWork, signal: AbortSignal | undefined): LayerWork | undefined {
    const { mode, overlap = true, reader, lookahead = overlap && reader.readers > 0, file } = this.parts;
    if (mode !== "dense" && overlap && file.header.geometry.parallelBlock) return admit;
    if (mode !== "predicted" || !lookahead || file.header.geometry.parallelBlock) return undefined;
    return async (layer, workshop, flash) => await this.#anticipate(layer, workshop, flash, signal);
  }

  async #showFfnInput(
    observer: ForwardObserver | undefined,
    layer: number,
    kernels: Kernels,
    { ffnInput }: Workspace,
    nTokens: number,
  ): Promise<void> {
    if (!observer?.ffnInput) return;
    await kernels.take(ffnInput, nTokens * this.#sizes.vectorBytes);
    await observer.ffnInput(layer, ffnInput, nTokens, kernels);
  }

  /** Guesses from a layer's input, in `hidden`, what its FFN will need, and begins to read that. */
  async #anticipate(layer: number, workshop: Workshop, flash: FlashLayer, signal?: AbortSignal): Promise<void> {
    this.meter.enter("predict");
    this.#normFfnInput(workshop, this.#layers[layer]!, 1);
    flash.anticipate(await this.predictedSet(layer, 0), this.meter, signal);
  }

  /** The predictor's set for vector `token` of the batch in the workspace. @param threshold Default: the option's, or the layer's own. */
  async predictedSet(layer: number, token: number, threshold?: number): Promise<Uint32Array> {
    const { arena, predictor } = this.#layers[layer]!;
    const { kernels, workspace } = this.#workshops[arena]!;
    assert(predictor, "predicted mode has predictors");
    const x = workspace.ffnInput + token * this.#sizes.vectorBytes;
    const scratch = { hidden: workspace.predictorHidden, scores: workspace.predictorScores, kernel: workspace.scratch };
    const above = threshold ?? this.#threshold(predictor);
    const count = await nameNeurons(kernels, predictor, x, scratch, workspace.named, above);
    return kernels.arena.u32(workspace.named, count);
  }

  /** ‖down_i‖₂ of every neuron of every layer; streams the model once and empties the caches. */
  async downNorms(signal?: AbortSignal): Promise<Float64Array[]> {
    const norms: Float64Array[] = [];
    for (const { flash } of this.#layers) norms.push(await flash.downNorms(this.meter, signal));
    return norms;
  }

  /** Releases everything; the arenas go when nothing refers to them any more. */
  close(): void {
    for (const { flash } of this.#layers) flash.parts.cache.clear();
    releaseArenas(this.parts, this.#workshops);
  }

  async #name(layer: number, x: Ptr, arena: number, signal?: AbortSignal): Promise<Uint32Array> {
    this.meter.enter("predict");
    if (this.parts.mode === "predicted") {
      const { residentMargin = 0 } = this.parts;
      return residentMargin > 0 ? await this.#leniently(layer, residentMargin) : await this.predictedSet(layer, 0);
    }
    const { flash } = this.#layers[layer]!;
    const { kernels, workspace } = this.#workshops[arena]!;
    const out = kernels.arena.u32(workspace.named, this.parts.file.header.geometry.dFf);
    const { stageSlots } = this.#sizes;
    const count = await flash.trulyActive(out, x, this.#stages[arena]!, stageSlots, this.meter, signal);
    return out.subarray(0, count);
  }

  /** The predictor's set for the token being decoded, where a resident neuron needs a score lower by `margin`: it costs no read. */
  async #leniently(layer: number, margin: number): Promise<Uint32Array> {
    const { arena, predictor, flash } = this.#layers[layer]!;
    const { kernels, workspace } = this.#workshops[arena]!;
    const threshold = this.#threshold(predictor!);
    const { cache, dFf } = flash.parts;
    const some = await this.predictedSet(layer, 0, threshold - margin);
    await kernels.take(workspace.predictorScores, 4 * dFf);
    const scores = kernels.arena.f32(workspace.predictorScores, dFf);
    let count = 0;
    for (const neuron of some) if (scores[neuron]! > threshold || cache.slotOf(neuron) >= 0) some[count++] = neuron;
    return some.subarray(0, count);
  }

  /** A layer that names every neuron has no scores that a threshold could be held against. */
  #threshold(predictor: PlacedPredictor): number {
    const own = predictor.threshold;
    return own === Number.NEGATIVE_INFINITY ? own : (this.parts.threshold ?? own);
  }

  /** What the predictor names for the last tokens of the batch, oldest first. */
  async #lastSets(layer: number, nTokens: number, count: number): Promise<Uint32Array[]> {
    this.meter.enter("predict");
    const sets: Uint32Array[] = [];
    for (let t = Math.max(0, nTokens - count); t < nTokens; t++) sets.push((await this.predictedSet(layer, t)).slice());
    return sets;
  }

  async #forward(
    tokens: readonly number[],
    position: number,
    options: ForwardOptions,
    ffn: LayerWork,
    beforeAttention?: LayerWork,
  ): Promise<TokenStats> {
    try {
      return await this.#forwardLayers(tokens, position, options, ffn, beforeAttention);
    } catch (error) {
      // Nothing flies on after a failure, whoever began it.
      await landAll(this.parts.reader);
      await this.#ahead.drop();
      for (const { flash } of this.#layers) flash.abandon();
      throw error;
    }
  }

  async #forwardLayers(
    tokens: readonly number[],
    position: number,
    options: ForwardOptions,
    ffn: LayerWork,
    beforeAttention?: LayerWork,
  ): Promise<TokenStats> {
    const { geometry } = this.parts.file.header;
    const n = tokens.length;
    const { overlap = true, readAhead = n > 1 || overlap } = this.parts;
    this.#ahead.ahead = readAhead;
    // Also before the first layer: arenas and reader are gone when the model is closed.
    this.parts.closing?.throwIfAborted();
    await this.#embed(tokens, position, options.signal);
    let at = 0;
    for (const [index, layer] of this.#layers.entries()) {
      await this.#giveWay(options.signal);
      if (layer.arena !== at) {
        await this.#carry(at, layer.arena, n);
        at = layer.arena;
      }
      const workshop = this.#workshops[at]!;
      const { kernels, workspace: w } = workshop;
      const vectors = (n * this.#sizes.vectorBytes) / 4;
      const { attnNorm, ffnNorm, downBias } = layer.weights;
      const { parallelBlock, normBefore } = geometry;
      this.meter.enter("attention");
      if (parallelBlock) {
        this.#norm(kernels, w.normed, w.hidden, attnNorm, n);
        if (ffnNorm) this.#norm(kernels, w.ffnInput, w.hidden, ffnNorm, n);
      }
      await beforeAttention?.(index, workshop, layer.flash, at);
      this.meter.enter("attention");
      if (!parallelBlock && normBefore) this.#norm(kernels, w.normed, w.hidden, attnNorm, n);
      this.#attention(workshop, layer, normBefore ? w.normed : w.hidden, position, n);
      if (!normBefore) this.#norm(kernels, w.hidden, w.hidden, attnNorm, n);
      if (!parallelBlock) this.#normFfnInput(workshop, layer, n);
      kernels.zero(w.blockOut, vectors);
      await ffn(index, workshop, layer.flash, at);
      this.meter.enter("ffn");
      // Unlike the paper's Algorithm, b_down is added after the sum over neurons: it belongs to no neuron.
      if (downBias !== 0) this.#addBias(kernels, w.blockOut, downBias, n);
      kernels.add(w.hidden, w.blockOut, vectors);
      if (!normBefore) this.#norm(kernels, w.hidden, w.hidden, ffnNorm!, n);
    }
    if (at !== 0) await this.#carry(at, 0, n);
    this.meter.enter("head");
    if (options.logits !== "none") await this.#head(n, options);
    return this.meter.end();
  }

  /** Lets the event loop have its turn now and then, and throws if the work is not wanted any more. */
  async #giveWay(signal: AbortSignal | undefined): Promise<void> {
    if (this.parts.clock() - this.#lastTurnMs > EVENT_LOOP_WAIT_MS) {
      this.meter.enter("other");
      await eventLoopTurn();
      this.#lastTurnMs = this.parts.clock();
    }
    signal?.throwIfAborted();
    this.parts.closing?.throwIfAborted();
  }

  async #embed(tokens: readonly number[], position: number, signal?: AbortSignal): Promise<void> {
    const { geometry } = this.parts.file.header;
    const { kernels, workspace: w } = this.#workshops[0]!;
    const { projectIn } = this.#globals;
    const into = projectIn ? w.embedding : w.hidden;
    await this.#embeddings.gather(kernels, into, tokens, w.rows, this.meter, signal);
    if (projectIn) kernels.linear(w.hidden, w.embedding, projectIn, 0, tokens.length, w.scratch);
    if (this.#positions) {
      const rows = tokens.map((_, i) => position + i + geometry.positionOffset);
      await this.#positions.gather(kernels, w.blockOut, rows, w.rows, this.meter, signal);
      kernels.add(w.hidden, w.blockOut, (tokens.length * this.#sizes.vectorBytes) / 4);
    }
  }

  #norm(kernels: Kernels, out: Ptr, x: Ptr, { weight, bias }: Norm, n: number): void {
    const { dModel, normEpsilon } = this.parts.file.header.geometry;
    kernels.layerNorm(out, x, weight, bias, dModel, n, normEpsilon);
  }

  /** The input of an FFN that comes after attention, from the residual stream: normed, or as it is in the post-norm form of OPT-350M. */
  #normFfnInput({ kernels, workspace: w }: Workshop, { weights }: EngineLayer, n: number): void {
    if (this.parts.file.header.geometry.normBefore) this.#norm(kernels, w.ffnInput, w.hidden, weights.ffnNorm!, n);
    else assert(w.ffnInput === w.hidden, "the FFN reads the residual stream in place");
  }

  /** hidden += W_o · attention(x). */
  #attention({ kernels, workspace: w }: Workshop, layer: EngineLayer, x: Ptr, position: number, n: number): void {
    const { geometry: g } = this.parts.file.header;
    const { query, key, value, attnOutput } = layer.weights;
    kernels.linear(w.query, x, query.weight, query.bias, n, w.scratch);
    kernels.linear(w.key, x, key.weight, key.bias, n, w.scratch);
    kernels.linear(w.value, x, value.weight, value.bias, n, w.scratch);
    if (g.positions === "rotary") {
      const tables = { cos: w.rotaryCos, sin: w.rotarySin, headDim: g.headDim };
      kernels.rotate(w.query, tables, g.nHeads, position, n);
      kernels.rotate(w.key, tables, g.nKvHeads, position, n);
    }
    kernels.storeKv(layer.kv, w.key, w.value, position, n);
    const slopes = g.positions === "alibi" ? w.alibiSlopes : 0;
    const shape = { nHeads: g.nHeads, scale: 1 / Math.sqrt(g.headDim), slopes };
    kernels.attention(w.mixed, w.query, layer.kv, shape, position, n, w.scratch);
    kernels.linear(w.blockOut, w.mixed, attnOutput.weight, attnOutput.bias, n, w.scratch);
    kernels.add(w.hidden, w.blockOut, (n * this.#sizes.vectorBytes) / 4);
  }

  #addBias(kernels: Kernels, out: Ptr, bias: Ptr, n: number): void {
    const { vectorBytes } = this.#sizes;
    const count = this.parts.file.header.geometry.dModel;
    const padded = (count + 3) & ~3;
    for (let t = 0; t < n; t++) kernels.add(out + t * vectorBytes, bias, padded);
  }

  async #head(n: number, options: ForwardOptions): Promise<void> {
    const { geometry: g } = this.parts.file.header;
    const { kernels, workspace: w } = this.#workshops[0]!;
    const { finalNorm, projectOut, head } = this.#globals;
    const { vectorBytes, logitsStrideBytes } = this.#sizes;
    const first = options.logits === "last" ? n - 1 : 0;
    const chunk = logitsBatch(this.batchTokens);
    for (let t = first; t < n; t += chunk) {
      const count = Math.min(chunk, n - t);
      let x = w.hidden + t * vectorBytes;
      if (finalNorm) {
        kernels.layerNorm(w.normed, x, finalNorm.weight, finalNorm.bias, g.dModel, count, g.normEpsilon);
        x = w.normed;
      }
      if (projectOut) {
        kernels.linear(w.embedding, x, projectOut, 0, count, w.scratch);
        x = w.embedding;
      }
      kernels.linear(w.logits, x, head, 0, count, w.scratch);
      const pending = kernels.take(w.logits, count * logitsStrideBytes);
      if (pending) await pending;
      for (let i = 0; i < count; i++) {
        options.onLogits?.(t + i, kernels.arena.f32(w.logits + i * logitsStrideBytes, g.vocabSize));
      }
    }
  }

  /** Copies the residual stream from one arena to another. */
  async #carry(from: number, to: number, n: number): Promise<void> {
    const source = this.#workshops[from]!;
    const target = this.#workshops[to]!;
    const bytes = n * this.#sizes.vectorBytes;
    const { hidden } = source.workspace;
    await source.kernels.take(hidden, bytes);
    target.arena.bytes.set(source.arena.bytes.subarray(hidden, hidden + bytes), target.workspace.hidden);
    target.kernels.put(target.workspace.hidden, bytes);
  }
}

function spansOf(observer: ForwardObserver | undefined): ((span: TokenSpan) => void) | undefined {
  return observer?.span && ((span) => observer.span!(span));
}

async function loadPredictorLayer(
  { predictor, signal }: EngineParts,
  layer: number,
  kernels: Kernels,
): Promise<PlacedPredictor> {
  assert(predictor, "predicted mode has predictors");
  const read = "readLayer" in predictor ? await predictor.readLayer(layer, signal) : predictor.layers[layer]!;
  const { arena } = kernels;
  const mark = arena.mark();
  const placed = placePredictor(arena, read);
  kernels.put(mark, arena.mark() - mark);
  return placed;
}

function releaseArenas({ reader, releaseArena }: EngineParts, workshops: readonly Workshop[]): void {
  for (const { arena } of workshops) {
    reader.release(arena.bytes);
    releaseArena?.(arena);
  }
}
