/**
 * The engine of a model: one at a time, made when it is first needed, kept as long as it suffices, replaced when a request needs another memory
 * plan.
 */
import { type DeviceLostError, InputError, isFlashwickError, type OnProgress } from "@flashwick/core";
import { type KvPrecision, type MemoryPlan, planMemory } from "@flashwick/cost-model";
import { reservedTokens } from "./context-tokens.js";
import type { Engine } from "./engine.js";
import type { EngineConfig } from "./engine-config.js";
import { loadEngine } from "./engine-loading.js";
import { memoryRequest } from "./engine-sizes.js";
import type { ModelOptions, ModelParts } from "./model-options.js";
import { Sequence } from "./sequence.js";

export interface LoadOptions {
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

const FATAL = new Set(["DEVICE_LOST", "THREAD_FAILED"]);

export class EngineHolder {
  #parts: ModelParts;
  readonly #options: ModelOptions;
  readonly #config: EngineConfig;
  readonly #closing: AbortSignal;
  /** Tokens that every sequence has room for; undefined: what each request needs. */
  readonly contextTokens: number | undefined;
  #engine: Engine | null = null;
  /** The model's own sequence, for requests that bring none. */
  #own: Sequence | null = null;
  #loadedBytes = 0;

  /** @throws As `reservedTokens`. */
  constructor(parts: ModelParts, options: ModelOptions, config: EngineConfig, closing: AbortSignal) {
    this.#parts = parts;
    this.#options = options;
    this.#config = config;
    this.#closing = closing;
    const { contextLength } = parts.file.header.geometry;
    this.contextTokens = reservedTokens(
      options.contextTokens,
      contextLength,
      (tokens) => this.#planFor(tokens, options.kvPrecision ?? "auto"),
      (error) => isFlashwickError(error) && error.code === "BUDGET_TOO_SMALL",
    );
  }

  /** Who does what. Whoever computes is replaced once, if a device is lost and the model goes on. */
  get parts(): ModelParts {
    return this.#parts;
  }

  /** Bytes read by all engines so far when they were made. */
  get loadedBytes(): number {
    return this.#loadedBytes;
  }

  /** @throws {BudgetError} with the smallest budget that would do. */
  plan(contextTokens: number, kvPrecision = this.#options.kvPrecision ?? "auto"): MemoryPlan {
    return this.#planFor(Math.max(contextTokens, this.contextTokens ?? 0), kvPrecision);
  }

  #planFor(contextTokens: number, kvPrecision: KvPrecision | "auto"): MemoryPlan {
    const { dramBudgetBytes, maxSequences: sequences = 1 } = this.#options;
    const wish = { budgetBytes: dramBudgetBytes ?? null, contextTokens, sequences, kvPrecision };
    const { mode, mergeGapBytes, cacheScope, expertsPerToken } = this.#config;
    const place = { ...this.#parts, mergeGapBytes, cacheScope, expertsPerToken };
    return planMemory(memoryRequest(this.#parts.file.header, this.#parts.predictor, mode, place, wish));
  }

  /**
   * The engine in use if it holds enough context, else a new one under a new plan.
   *
   * @throws {BudgetError} {IntegrityError} {IoError} as budget and file deserve; the signal's own reason. {InputError} `INPUT_CONTEXT_LENGTH` where the
   *   engine in use is too small and has sequences that belong to callers.
   */
  async engineFor(contextTokens: number, { onProgress, signal }: LoadOptions): Promise<Engine> {
    const plan = this.plan(contextTokens);
    const held = this.#engine?.parts.plan;
    // A plan for more context may have lower precision of keys and values: the same request must give the same bits.
    if (this.#engine && held!.contextTokens >= contextTokens && held!.kvPrecision === plan.kvPrecision) {
      return this.#engine;
    }
    this.#releaseOwn();
    if (this.#engine && this.#engine.openSequences > 0) throw sequencesAreOpen(this.#engine, contextTokens);
    this.free();
    const report = onProgress ?? this.#options.onProgress;
    // At once: predictors are read before the weights that are counted.
    report?.({ phase: "load", loaded: 0, total: plan.dram.resident, unit: "bytes" });
    this.#engine = await loadEngine({
      ...this.#parts,
      plan,
      config: this.#config,
      hotExperts: this.#options.hotExperts,
      onLoaded: (loaded, total) => report?.({ phase: "load", loaded, total, unit: "bytes" }),
      signal,
      closing: this.#closing,
    });
    this.#loadedBytes += this.#engine.loadedBytes;
    return this.#engine;
  }

  /** The model's own sequence, with room for `contextTokens`. @throws As {@link engineFor}; {BudgetError} `BUDGET_SEQUENCES`. */
  async ownSequence(contextTokens: number, options: LoadOptions): Promise<Sequence> {
    const engine = await this.engineFor(contextTokens, options);
    this.#own ??= new Sequence(engine);
    return this.#own;
  }

  /** A sequence that belongs to the caller. The model's own makes room for it. @throws As {@link engineFor}; {BudgetError} `BUDGET_SEQUENCES`. */
  async openSequence(contextTokens: number, options: LoadOptions): Promise<Sequence> {
    const engine = await this.engineFor(contextTokens, options);
    if (engine.openSequences === engine.parts.plan.sequences) this.#releaseOwn();
    return new Sequence(engine);
  }

  /**
   * The engine for `contextTokens`, with every sequence free that is not a caller's own.
   *
   * @throws As {@link engineFor}.
   */
  async engineForAll(contextTokens: number, options: LoadOptions): Promise<Engine> {
    const engine = await this.engineFor(contextTokens, options);
    this.#releaseOwn();
    return engine;
  }

  /** As {@link free}, as soon as no sequence of a caller's is in a step. Nothing else may be in progress. */
  async freeWhenIdle(): Promise<void> {
    await this.#engine?.stepsEnded();
    this.free();
  }

  /** Forgets the engine, and with it all sequences, and gives its memory back to the system where the platform can. */
  free(): void {
    if (this.#engine === null) return;
    this.drop();
    this.#parts.freeDropped?.();
  }

  /**
   * Forgets the engine if `error` means that it is of no use any more: its device, or one of its threads, is gone.
   *
   * @returns Whether that is so.
   */
  dropAfter(error: unknown): boolean {
    const isFatal = isFlashwickError(error) && FATAL.has(error.code);
    if (isFatal) this.drop();
    return isFatal;
  }

  /** Forgets the engine, and with it all sequences. */
  drop(): void {
    const dropped = this.#engine;
    this.#engine = null;
    this.#own = null;
    dropped?.close();
  }

  /** Does `work`, and does it again without the device if that is lost and the user wants to go on. @throws What `work` throws otherwise. */
  async withDevice<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        this.giveUpDevice(error);
      }
    }
  }

  /** As {@link replaceDevice}. @throws `error` where nothing is replaced. */
  giveUpDevice(error: unknown): void {
    if (!this.replaceDevice(error)) throw error;
  }

  /** From now on the host computes, if `error` says that the device is lost and the user wants to go on. @returns Whether that is so. */
  replaceDevice(error: unknown): boolean {
    const { withoutDevice } = this.#parts;
    const lost = isFlashwickError(error) && error.code === "DEVICE_LOST" ? (error as DeviceLostError) : null;
    if (!lost || !withoutDevice || this.#options.onDeviceLost?.(lost) !== "continue") return false;
    this.drop();
    const ofDevice = { maxArenaBytes: undefined, releaseArena: undefined, withoutDevice: undefined };
    this.#parts = { ...this.#parts, ...ofDevice, ...withoutDevice };
    return true;
  }

  #releaseOwn(): void {
    this.#own?.release();
    this.#own = null;
  }
}

function sequencesAreOpen(engine: Engine, contextTokens: number): InputError {
  return new InputError(
    "INPUT_CONTEXT_LENGTH",
    `a request for ${contextTokens} tokens, but the sequences that are open have room for ${engine.contextTokens}; release them first, or open ` +
      "the model with more contextTokens",
    { details: { contextTokens, reserved: engine.contextTokens } },
  );
}
