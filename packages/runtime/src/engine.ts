/**
 * One model in DRAM under one memory plan, and the step that everything is made of: n tokens, each with a set of neurons of its own, of one or
 * more sequences.
 *
 * The life of a step (ARCHITECTURE.md): embed -> per layer: norm, attention, the chooser names each token's set, their union is read once,
 * through the slots or streamed, FFN, residual add -> final norm -> head. Where attention and FFN are parallel (Falcon), the chooser comes before
 * attention, and flash fills slots meanwhile. A step of several tokens gives each the same bits as a step of its own.
 */
import { assert, DisposedError, eventLoopTurn, type TokenStats } from "@flashwick/core";
import type { NeuronCache } from "@flashwick/dram-cache";
import { recordLayout } from "@flashwick/flash-format";
import type { ArenaContext } from "./arena-context.js";
import { ALL_NEURONS, type Chooser } from "./chooser.js";
import type { EngineLayer, RecordLayer } from "./engine-layer.js";
import type { EngineParts } from "./engine-parts.js";
import type { StepOptions, StepRow, StepSequence } from "./engine-step.js";
import { EVENT_LOOP_WAIT_MS } from "./event-loop.js";
import { ExpertChooser, expertChooser, promptChooser } from "./expert-choice.js";
import { FfnStep } from "./ffn-step.js";
import type { ForwardPass, StepSegment } from "./forward-pass.js";
import { GateFirstChooser } from "./gate-first-chooser.js";
import { readHotExperts } from "./hot-experts.js";
import type { KvPool } from "./kv-pool.js";
import { landAll } from "./landing.js";
import { StreamAhead, type StreamedLayer } from "./layer-stream.js";
import { downNorms } from "./layer-studies.js";
import { OracleChooser } from "./oracle-chooser.js";
import { PredictorChooser } from "./predictor-chooser.js";
import { type UnitNorms, weighs } from "./pruning/planned-pruner.js";
import { prunedChooser } from "./pruning/pruning-chooser.js";
import { unitNorms } from "./pruning/unit-norms.js";
import { typedIfRefused } from "./refused-memory.js";
import type { ResidentLoader } from "./resident-weights.js";
import { TokenMeter } from "./token-meter.js";

/** What an engine is allocated as; see engine-loading.ts. */
export interface LoadedModel {
  readonly contexts: readonly ArenaContext[];
  readonly layers: readonly EngineLayer[];
  readonly forward: ForwardPass;
  readonly pool: KvPool;
  readonly loader: ResidentLoader;
}

/** Arenas and resident weights of a model, and the forward pass over them. */
export class Engine {
  readonly parts: EngineParts;
  readonly meter: TokenMeter;
  #chooser: Chooser;
  /** Of prompts, which are dense whatever the mode: every neuron; of a mixture that is to use fewer experts, those. */
  readonly promptChooser: Chooser;
  readonly #model: LoadedModel;
  readonly #ahead: StreamAhead;
  readonly #ffn: FfnStep;
  /** When the event loop last had a turn. */
  #lastTurnMs = 0;
  #hotBytes = 0;
  #closed = false;
  /** The end of the step in progress, which never rejects; null: there is none. */
  #stepping: Promise<void> | null = null;

  constructor(parts: EngineParts, model: LoadedModel) {
    this.parts = parts;
    this.#model = model;
    this.meter = new TokenMeter(parts.clock);
    this.#chooser = chooserOf(parts, model.layers, null);
    this.promptChooser = promptChooser(this.#chooser);
    const streamed = model.layers.flatMap(streamsOf);
    this.#ahead = new StreamAhead(streamed, parts.config.readAhead.severalTokens, this.meter);
    this.#ffn = new FfnStep(this, model.forward, this.#ahead);
  }

  /** What the engine's mode says: every neuron, what predictors or gates name, what a plan keeps, or what is truly active. */
  get chooser(): Chooser {
    return this.#chooser;
  }

  /**
   * For many tokens at once, as in scoring: the same output as {@link chooser}, at the cost of a pass. A truly active set takes nothing away, so
   * the oracle need not be asked, and what a mixture prefers of its cache is nothing that a batch could.
   */
  get batchChooser(): Chooser {
    if (this.chooser instanceof ExpertChooser) return this.promptChooser;
    return this.chooser.exact ? ALL_NEURONS : this.chooser;
  }

  /**
   * {@link batchChooser} for those who count what is named, of which exact choosers but the gate's are not asked: gates name more than what is active where up
   * projections leave zeros, too.
   *
   * @param thresholdByLayer Other thresholds than the predictor's own; undefined: its own.
   */
  batchChooserAt(thresholdByLayer: readonly number[] | undefined): Chooser {
    if (this.chooser instanceof GateFirstChooser) return this.chooser;
    if (thresholdByLayer === undefined || this.parts.config.mode !== "predicted") return this.batchChooser;
    return new PredictorChooser({ ...this.parts.config, thresholdByLayer });
  }

  /** Tokens of the widest step. */
  get batchTokens(): number {
    return this.parts.plan.batchTokens;
  }

  /** Tokens of the longest sequence. */
  get contextTokens(): number {
    return this.parts.plan.contextTokens;
  }

  /** Every layer, for studies between steps. */
  get layers(): readonly EngineLayer[] {
    return this.#model.layers;
  }

  /** The layers whose neurons have slots: all, or none where FFNs lie in matrices. */
  get #recordLayers(): readonly RecordLayer[] {
    return this.#model.layers.filter((layer) => layer.storage === "records");
  }

  /** The caches of each layer that has any, of neurons, columns or experts, or the pools of all layers, for counters and displays; none where FFNs lie in matrices. */
  get caches(): readonly NeuronCache[] {
    return [...new Set(this.#model.layers.flatMap(cachesOf))];
  }

  /** Bytes taken in arenas: at most what the plan accounts for. */
  get arenaBytes(): number {
    return this.#model.contexts.reduce((sum, { arena }) => sum + arena.sizeBytes, 0);
  }

  /** Neurons, or experts, that a layer's slots hold at present, in no order. Empty where no cache decides. Cost: a copy. */
  residentNeurons(layer: number): Uint32Array {
    const of = this.#model.layers[layer]!;
    if (of.storage === "experts") return of.mixture.slots?.residentExperts() ?? new Uint32Array(0);
    // By columns, of inputs and neurons the latter.
    const cache = cachesOf(of).at(-1);
    return cache ? cache.pointer.slice(0, cache.numUsed) : new Uint32Array(0);
  }

  /** The pages of all sequences: whoever opens a sequence takes them from here. */
  get pool(): KvPool {
    return this.#model.pool;
  }

  /** How many sequences are open. */
  get openSequences(): number {
    return this.#model.pool.openTables;
  }

  /** Bytes of a page of keys and values. */
  get pageBytes(): number {
    return this.#model.pool.pageBytes;
  }

  /** Pages of keys and values that no sequence holds. */
  get freePages(): number {
    return this.#model.pool.freePages;
  }

  /** Bytes that were read when the engine was made: resident weights, and a mixture's hot experts. */
  get loadedBytes(): number {
    return this.#model.loader.totalBytes + this.#hotBytes;
  }

  /** Reads the experts that a workload used most into the empty slots, once. @throws As `readHotExperts`. */
  async loadHotExperts(): Promise<void> {
    const { totalBytes } = this.#model.loader;
    this.#hotBytes = await readHotExperts(this.parts, this.#model.layers, (loaded, total) =>
      this.parts.onLoaded?.(totalBytes + loaded, totalBytes + total),
    );
  }

  /** Where a pruning plan weighs units by the norms of their columns: finds these, once. @throws As `unitNorms`. */
  async weighUnits(signal?: AbortSignal): Promise<void> {
    const { config, file } = this.parts;
    if (!config.pruning || !weighs(config.pruning.plan)) return;
    const norms = await unitNorms(this.layers, file.header.geometry.dModel, this.meter, signal);
    this.#chooser = chooserOf(this.parts, this.layers, norms);
  }

  /**
   * Reads the resident weights, again if they are there already: what a reader that keeps nothing does for every token.
   *
   * @returns What was read.
   */
  async loadResident(signal?: AbortSignal): Promise<{ readonly bytes: number; readonly reads: number }> {
    const { reader, onLoaded } = this.parts;
    const { loader, contexts } = this.#model;
    const { totalBytes } = loader;
    let loaded = 0;
    const onBytes = async (bytes: number) => {
      onLoaded?.((loaded += bytes), totalBytes);
      await this.#giveWay(signal);
    };
    onLoaded?.(0, totalBytes);
    return await loader.load(
      (arena) => contexts.find((context) => context.arena === arena)!.kernels,
      reader,
      onBytes,
      signal,
    );
  }

  /**
   * ‖down_i‖₂ of every neuron of every layer; streams the model once and empties the caches, but in pruned mode, where it is as `unitNorms`.
   *
   * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where FFNs lie in matrices, or in columns; in pruned mode as `unitNorms`.
   */
  async downNorms(signal?: AbortSignal): Promise<Float64Array[]> {
    if (this.parts.config.mode === "pruned") {
      const ofUnits = await unitNorms(this.layers, this.parts.file.header.geometry.dModel, this.meter, signal);
      return ofUnits.map(({ outputs }) => Float64Array.from(outputs));
    }
    recordLayout(this.parts.file.header);
    const norms: Float64Array[] = [];
    for (const { slots } of this.#recordLayers) norms.push(await downNorms(slots, this.meter, signal));
    return norms;
  }

  /**
   * Appends tokens to their sequences: computes them, and stores their keys and values. Rows of one sequence are consecutive.
   *
   * Steps share vectors, caches and reader: one that is called while another is in progress begins after it, first come, first served. After an error the sequences are as they were before, and usable.
   *
   * @param rows At most `batchTokens`, each token below the vocabulary size; checked by the caller.
   * @throws {InputError} `INPUT_CONTEXT_LENGTH` for a position beyond what was planned for. {BudgetError} `BUDGET_KV_PAGES`.
   *   {IntegrityError} {IoError} {DeviceLostError} as reads and devices fail; the signal's own reason.
   */
  async step(rows: readonly StepRow[], chooser: Chooser, options: StepOptions = {}): Promise<TokenStats> {
    assert(rows.length > 0 && rows.length <= this.batchTokens, "a step fits the workspace");
    while (this.#stepping !== null) await this.#stepping;
    const step = this.#step(groupBySequence(rows), rows.length, chooser, options);
    this.#stepping = step.then(noResult, noResult);
    try {
      return await step;
    } finally {
      this.#stepping = null;
    }
  }

  /** Resolves when no step is in progress: then nothing looks into the arenas, and no read is in flight. */
  async stepsEnded(): Promise<void> {
    while (this.#stepping !== null) await this.#stepping;
  }

  async #step(parts: readonly StepPart[], n: number, chooser: Chooser, options: StepOptions): Promise<TokenStats> {
    if (this.#closed) throw new DisposedError("the model that the sequence belongs to");
    const begun: StepSequence[] = [];
    try {
      for (const { sequence } of parts) {
        sequence.stepBegins();
        begun.push(sequence);
      }
      for (const { sequence, tokens } of parts) await sequence.reserve(tokens.length);
      return await this.#append(parts, n, chooser, options);
    } finally {
      for (const sequence of begun) sequence.stepEnds();
    }
  }

  /** Computes the tokens, for which there is room, and commits them. */
  async #append(parts: readonly StepPart[], n: number, chooser: Chooser, options: StepOptions): Promise<TokenStats> {
    let row = 0;
    const segments = parts.map(({ sequence, tokens }): StepSegment => {
      const segment = { table: sequence.table, row, position: sequence.length, tokens };
      row += tokens.length;
      return segment;
    });
    const { observer } = options;
    observer?.stepBegins?.(n);
    this.meter.begin(observer?.span && ((span) => observer.span!(span)));
    this.#ffn.admittedTo.clear();
    try {
      await this.#run(segments, n, chooser, options);
    } catch (error) {
      // Nothing is read on after a failure, whoever began it.
      await landAll(this.parts.reader);
      await this.#ahead.drop();
      for (const { sparse } of this.#recordLayers) sparse.abandon();
      for (const layer of this.#model.layers) if (layer.storage === "experts") layer.mixture.lookAhead.next?.abandon();
      throw typedIfRefused(error);
    }
    const isPromptLike = chooser === this.promptChooser || (chooser.exact && this.promptChooser.exact);
    for (const { sequence, tokens } of parts) sequence.commit(tokens, chooser.exact, isPromptLike);
    return this.meter.end();
  }

  /** The last `tokens` tokens of the last step never were: drafts that were rejected. The caches forget that they used anything. */
  retract(tokens: number): void {
    if (tokens > 0) for (const cache of this.#ffn.admittedTo) cache.retract(tokens);
  }

  /** Releases everything; the arenas go when nothing refers to them any more. */
  close(): void {
    this.#closed = true;
    for (const cache of this.caches) cache.clear();
    releaseContexts(this.parts, this.#model.contexts);
  }

  async #run(segments: readonly StepSegment[], n: number, chooser: Chooser, options: StepOptions): Promise<void> {
    const { forward, contexts, layers } = this.#model;
    const { readAhead } = this.parts.config;
    const { logits = "none", onLogits, signal } = options;
    this.#ahead.ahead = n > 1 ? readAhead.severalTokens : readAhead.oneToken;
    // Where tokens have sets, a layer may turn out to be read by neuron.
    this.#ahead.acrossLayers = chooser === ALL_NEURONS || options.observer?.activations !== undefined;
    this.#ahead.refill = chooser === ALL_NEURONS && this.#ffn.refills(options);
    // Also before the first layer: arenas and reader are gone when the model is closed.
    this.parts.closing?.throwIfAborted();
    await forward.embed(segments, this.meter, signal);
    let at = contexts[0]!;
    for (const layer of layers) {
      await this.#giveWay(signal);
      if (layer.context !== at) {
        await forward.carry(at, layer.context, n);
        at = layer.context;
      }
      this.meter.enter("attention");
      if (layer.geometry.parallel) forward.normParallel(layer, n);
      const early = await this.#ffn.beforeAttention(layer, n, chooser, options);
      this.meter.enter("attention");
      const attending = forward.attend(layer, segments, { nTokens: n, ahead: this.#ahead, meter: this.meter, signal });
      if (attending) await attending;
      if (!layer.geometry.parallel) forward.normFfnInput(layer, n);
      forward.clearFfnOutput(layer, n);
      await this.#ffn.compute(layer, n, chooser, early, options);
      this.meter.enter("ffn");
      forward.addFfnOutput(layer, n);
    }
    if (at !== contexts[0]) await forward.carry(at, contexts[0]!, n);
    this.meter.enter("head");
    for (const [first, end] of wantedRows(logits, n)) await forward.head(first, end, onLogits ?? (() => {}));
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
}

/** Tells reader and compute that arenas will not be used any more. */
export function releaseContexts(
  { reader, releaseArena }: EngineParts,
  contexts: readonly Pick<ArenaContext, "arena">[],
): void {
  for (const { arena } of contexts) {
    reader.release(arena.bytes);
    releaseArena?.(arena);
  }
}

function cachesOf(layer: EngineLayer): readonly NeuronCache[] {
  switch (layer.storage) {
    case "records":
      return [layer.slots.cache];
    case "columns":
      return layer.ffn.caches;
    case "experts":
      return layer.mixture.slots ? [layer.mixture.slots.cache] : [];
    case "matrices":
      return [];
  }
}

/** What of a layer may be read ahead in order. */
function streamsOf(layer: EngineLayer): StreamedLayer[] {
  switch (layer.storage) {
    case "records":
      return [layer.streamed.stream];
    case "columns":
      return [layer.ffn.parts.inputs.stream, layer.ffn.parts.outputs.stream];
    case "experts":
      return [];
    case "matrices":
      return [layer.streamed];
  }
}

/** @param norms Of units, if a plan weighs by them and they are known. */
function chooserOf(
  { config, file }: EngineParts,
  layers: readonly EngineLayer[],
  norms: readonly UnitNorms[] | null,
): Chooser {
  switch (config.mode) {
    case "dense":
      return expertChooser(file.header.geometry, config);
    case "oracle":
      return new OracleChooser();
    case "predicted":
      return new PredictorChooser(config);
    case "gate-first":
      return new GateFirstChooser();
    case "pruned":
      assert(config.pruning, "pruned mode has a plan");
      // Until norms are known, nothing is left out.
      return weighs(config.pruning.plan) && !norms ? ALL_NEURONS : prunedChooser(config.pruning, layers, norms);
  }
}

/** Neighbouring rows whose logits are wanted: the first of each group, and the one after its last. */
function wantedRows(logits: NonNullable<StepOptions["logits"]>, n: number): readonly (readonly [number, number])[] {
  if (logits === "none") return [];
  if (logits === "last") return [[n - 1, n]];
  if (logits === "all") return [[0, n]];
  const groups: [number, number][] = [];
  for (const row of logits) {
    const last = groups.at(-1);
    if (last?.[1] === row) last[1]++;
    else groups.push([row, row + 1]);
  }
  return groups;
}

/** What a step computes of one sequence. */
interface StepPart {
  readonly sequence: StepSequence;
  readonly tokens: readonly number[];
}

function noResult(): void {}

function groupBySequence(rows: readonly StepRow[]): StepPart[] {
  const groups: { sequence: StepSequence; tokens: number[] }[] = [];
  for (const { sequence, token } of rows) {
    const last = groups.at(-1);
    if (last?.sequence === sequence) last.tokens.push(token);
    else groups.push({ sequence, tokens: [token] });
  }
  assert(new Set(groups.map(({ sequence }) => sequence)).size === groups.length, "rows of a sequence are consecutive");
  return groups;
}
