/**
 * An open model: the object that a user holds. It plans its memory for each request, keeps one engine at a time and lets
 * one request run at a time; everything that is closed or aborted is released.
 */
import {
  type DeviceLostError,
  DisposedError,
  type DramAccount,
  InputError,
  isFlashwickError,
  type OnProgress,
  type PredictedRun,
  type Predictor,
  type PredictorSource,
  type RunStats,
  type SparsityStatistics,
  type TokenStats,
  UnsupportedError,
} from "@flashwick/core";
import {
  type DeviceProfile,
  type EngineSettings,
  type KvPrecision,
  type MemoryPlan,
  planMemory,
  type RunLength,
  type RunPlan,
} from "@flashwick/cost-model";
import type { ModelFile, ModelHeader } from "@flashwick/flash-format";
import type { FlashReader } from "@flashwick/flash-io";
import type { Arena, KernelFactory, Kernels } from "@flashwick/kernels";
import { checkPredictor } from "@flashwick/predictor";
import { type CachePolicyChoice, POLICIES } from "./cache-policy.js";
import { Engine, type ForwardObserver } from "./engine.js";
import type { NeuronMode } from "./engine-parts.js";
import { memoryRequest } from "./engine-sizes.js";
import { predictRun } from "./predicted-run.js";
import { type RecordedSets, type ReplayedRun, replayRun } from "./replayed-run.js";
import { summarizeRun } from "./run-summary.js";
import { createSampler, type SamplingOptions } from "./sampler.js";
import { checkTokens, Session } from "./session.js";
import { TextStream } from "./text-stream.js";
import { createTextTokenizer, noTokenizerError, type TextTokenizer } from "./text-tokenizer.js";

export interface ModelOptions {
  /** Hard ceiling of DRAM for weights, cache, keys and values, activations and buffers. Default: everything resident. */
  readonly dramBudgetBytes?: number | undefined;
  /** `predicted` needs a predictor. Default: predicted if there is one, else dense. */
  readonly mode?: NeuronMode | undefined;
  /** Score (logit) above which a neuron is named; default: each layer's calibrated one. -Infinity names all. */
  readonly threshold?: number | undefined;
  /**
   * Resident neurons are named from a threshold lower by this much: better quality for no reads. Default 0: with any other the output depends
   * on what the neuron cache holds.
   */
  readonly residentMargin?: number | undefined;
  /** Default `window`. */
  readonly policy?: CachePolicyChoice["policy"] | undefined;
  /** Tokens whose neurons stay; default: as many as fit. */
  readonly windowTokens?: number | undefined;
  /** Precision of keys and values; `auto` (default): the best that fits the budget. */
  readonly kvPrecision?: KvPrecision | "auto" | undefined;
  /** Unneeded bytes between two flash reads up to which they become one; default: what the device is best with. */
  readonly mergeGapBytes?: number | undefined;
  /**
   * Compute while reads fly. Default: as the platform found worth while. False waits for every read before computing anything. Either
   * way gives the same bits.
   */
  readonly overlap?: boolean | undefined;
  /** Guess and read ahead of each layer's attention; default: as the platform found worth while. Gives the same bits. */
  readonly lookahead?: boolean | undefined;
  /**
   * Where a device computes: called when it is lost while `generate` runs. After `"continue"` the model goes on with WebAssembly, from the prompt and the
   * tokens so far, as if it had never computed elsewhere. Default: the {@link DeviceLostError} is thrown.
   */
  readonly onDeviceLost?: ((error: DeviceLostError) => "continue" | "throw") | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What `openModel` of a platform hands over. */
export interface ModelParts {
  readonly file: ModelFile;
  readonly reader: FlashReader;
  readonly kernels: KernelFactory<Kernels>;
  readonly backend: string;
  readonly predictor: Predictor | PredictorSource | null;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  readonly maxArenaBytes?: number;
  /** Arenas in shared memory: compute threads need it. */
  readonly sharedMemory?: boolean;
  /** Whether computing while single neurons are read pays here; default true. */
  readonly overlap?: boolean;
  /** Whether guessing ahead of attention pays here; default: where reads overlap. */
  readonly lookahead?: boolean | undefined;
  /** Threads that compute; default 1. For reports. */
  readonly threads?: number;
  /** What this machine can do: predictions stand on it. */
  readonly profile?: DeviceProfile | null;
  /** What `readers`, `threads` and the rest were chosen by, for people; null: by hand or by rule. */
  readonly plan?: RunPlan | null;
  /** Tells whoever computes that an arena will not be used any more. */
  readonly releaseArena?: (arena: Arena) => void;
  /** Where a device computes: what else can. */
  readonly withoutDevice?: Pick<ModelParts, "kernels" | "backend">;
  /** Ends what belongs to the model beside its reader and its file. */
  readonly onClose?: () => Promise<void>;
}

export interface GenerateOptions extends SamplingOptions {
  /** Default 64. Generation also ends where the context does. */
  readonly maxTokens?: number;
  /** Texts that end the generation; they are not part of the text. */
  readonly stop?: readonly string[];
  /** Go on after the end-of-sequence token. */
  readonly ignoreEos?: boolean;
  /** Looks into the forward pass of every decoded token. */
  readonly observer?: ForwardObserver | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type FinishReason = "length" | "eos" | "stop" | "aborted";

export interface GeneratedToken {
  /** Text that this token completes; empty while a character or a stop text is unfinished. */
  readonly text: string;
  /** Null for the last item, which only ends the run. */
  readonly token: number | null;
  readonly stats: TokenStats | null;
  readonly finishReason: FinishReason | null;
}

/** What a finished run returns. */
export interface RunSummary {
  readonly promptTokens: number;
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  readonly stats: RunStats;
  readonly plan: MemoryPlan;
}

export class Model {
  readonly options: ModelOptions;
  readonly mode: NeuronMode;
  #parts: ModelParts;
  readonly #policy: CachePolicyChoice;
  #tokenizer: TextTokenizer | null = null;
  #session: Session | null = null;
  /** Resolves when the request in progress has ended. */
  #turn: Promise<void> = Promise.resolve();
  /** Ends the turn of a request that waits for its caller to take a token; null while it works. */
  #endIdleTurn: (() => void) | null = null;
  readonly #closing = new AbortController();
  #closed: Promise<void> | null = null;

  /**
   * Checks that the parts belong together and that the budget holds at least one token.
   *
   * @throws {IntegrityError} for a predictor of another model. {BudgetError} with the smallest budget that would do.
   * @throws {UnsupportedError} where the model cannot be run as asked.
   */
  constructor(parts: ModelParts, options: ModelOptions = {}) {
    this.#parts = parts;
    this.options = options;
    this.mode = options.mode ?? (parts.predictor ? "predicted" : "dense");
    this.#policy = { policy: options.policy ?? "window", windowTokens: options.windowTokens ?? null };
    checkPolicy(this.#policy);
    if (this.mode === "predicted") checkPredicted(parts);
    this.plan(1);
  }

  /** Who does what. Whoever computes is replaced once, if a device is lost and the model goes on. */
  get parts(): ModelParts {
    return this.#parts;
  }

  get header(): ModelHeader {
    return this.parts.file.header;
  }

  /** Who computes and who reads, for reports. */
  get threading(): { readonly threads: number; readonly readers: number; readonly mergeGapBytes: number } {
    const { threads = 1, reader } = this.parts;
    return { threads, readers: reader.readers, mergeGapBytes: this.#mergeGapBytes };
  }

  /** By hand, or as the device has it, while the room that gaps land in stays a thousandth of the budget. */
  get #mergeGapBytes(): number {
    const { mergeGapBytes, dramBudgetBytes = Number.POSITIVE_INFINITY } = this.options;
    return mergeGapBytes ?? Math.min(this.parts.reader.mergeGapBytes, Math.floor(dramBudgetBytes / 1024));
  }

  /** @throws {InputError} `INPUT_NO_TOKENIZER` if the file carries none. */
  get tokenizer(): TextTokenizer {
    const { tokenizerJson } = this.header;
    if (tokenizerJson === null) throw noTokenizerError(this.parts.file.source.name);
    this.#tokenizer ??= createTextTokenizer(tokenizerJson, this.parts.file.source.name);
    return this.#tokenizer;
  }

  /**
   * The memory plan of a request for `contextTokens` in all.
   *
   * @throws {BudgetError} with the smallest budget that would do.
   */
  plan(contextTokens: number, kvPrecision = this.options.kvPrecision ?? "auto"): MemoryPlan {
    const budgetBytes = this.options.dramBudgetBytes ?? null;
    const wish = { budgetBytes, contextTokens, kvPrecision };
    const place = { ...this.parts, mergeGapBytes: this.#mergeGapBytes };
    return planMemory(memoryRequest(this.header, this.parts.predictor, this.mode, place, wish));
  }

  /**
   * Generates text after a prompt.
   *
   * @param prompt Text, or token ids (then no special token is added).
   * @throws {InputError} before the first token, for a prompt that is empty, too long or out of range.
   * Breaking out of the loop, and the signal, release everything. After an abort the signal's reason is thrown.
   */
  async *generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken, RunSummary> {
    const { maxTokens = 64, stop = [], signal } = options;
    if (!Number.isInteger(maxTokens) || maxTokens < 0) {
      throw new InputError("INPUT_INVALID", `maxTokens is ${maxTokens}, expected an integer of at least 0`);
    }
    const promptTokens = typeof prompt === "string" ? this.tokenizer.encode(prompt, true) : prompt;
    checkTokens(promptTokens, this.header.geometry);
    const sampler = createSampler(options);
    const text = this.header.tokenizerJson === null ? null : new TextStream(this.tokenizer, stop);
    if (!text && stop.length > 0) throw noTokenizerError(this.parts.file.source.name);
    const { contextLength, eosTokenId } = this.header.geometry;
    const contextTokens = Math.min(contextLength, promptTokens.length + maxTokens);
    const release = await this.#enter();
    try {
      const tokens: number[] = [];
      const decoded: TokenStats[] = [];
      let finishReason: FinishReason = "length";
      let { session, logits, batches } = await this.#begin(promptTokens, tokens, contextTokens, options);
      while (tokens.length < maxTokens) {
        signal?.throwIfAborted();
        const token = sampler(logits);
        if (token === eosTokenId && !options.ignoreEos) {
          finishReason = "eos";
          break;
        }
        tokens.push(token);
        const piece = text?.push(token) ?? "";
        if (text?.stopped) {
          finishReason = "stop";
          yield this.#handOver({ text: piece, token, stats: null, finishReason: null }, release);
          break;
        }
        // The last token of all needs no logits after it, nor does one at the end of the context.
        const more = tokens.length < maxTokens && session.position < contextTokens;
        let stats: TokenStats | null = null;
        if (more) {
          try {
            ({ logits, stats } = await session.decode(token, signal, options.observer));
          } catch (error) {
            this.#giveUpDevice(error);
            ({ session, logits, batches, stats } = await this.#begin(promptTokens, tokens, contextTokens, options));
          }
          decoded.push(stats!);
        }
        yield this.#handOver({ text: piece, token, stats, finishReason: null }, release);
        this.#takeBack();
        if (!more) break;
      }
      yield this.#handOver({ text: text?.end() ?? "", token: null, stats: null, finishReason }, release);
      const { plan } = session.engine.parts;
      const stats = this.#summarize(plan, promptTokens.length, batches, decoded);
      return { promptTokens: promptTokens.length, tokens, finishReason, stats, plan };
    } catch (error) {
      this.#dropSession();
      throw error;
    } finally {
      this.#endIdleTurn = null;
      release();
    }
  }

  /** A sequence of a prompt that is prefilled and tokens that are decoded, of which the last one's cost is told. */
  async #begin(
    prompt: readonly number[],
    tokens: readonly number[],
    contextTokens: number,
    { onProgress, signal, observer }: GenerateOptions,
  ): Promise<{ session: Session; logits: Float32Array; batches: readonly TokenStats[]; stats: TokenStats | null }> {
    const onPrefill = (loaded: number) =>
      onProgress?.({ phase: "prefill", loaded, total: prompt.length, unit: "tokens" });
    for (;;) {
      try {
        const session = await this.#sessionFor(contextTokens, onProgress, signal);
        const { logits: first, batches } = await session.prefill(prompt, signal, onPrefill);
        let step: { logits: Float32Array; stats: TokenStats | null } = { logits: first, stats: null };
        for (const token of tokens) step = await session.decode(token, signal, observer);
        return { session, batches, ...step };
      } catch (error) {
        this.#giveUpDevice(error);
      }
    }
  }

  /** From now on the host computes, if `error` says that the device is lost and the user wants to go on. @throws `error` otherwise. */
  #giveUpDevice(error: unknown): void {
    const { withoutDevice } = this.#parts;
    const lost = isFlashwickError(error) && error.code === "DEVICE_LOST" ? (error as DeviceLostError) : null;
    if (!lost || !withoutDevice || this.options.onDeviceLost?.(lost) !== "continue") throw error;
    this.#dropSession();
    const ofDevice = { maxArenaBytes: undefined, releaseArena: undefined, withoutDevice: undefined };
    this.#parts = { ...this.#parts, ...ofDevice, ...withoutDevice };
  }

  /**
   * Runs `work` with a fresh sequence of up to `contextTokens`, alone. For scoring, evaluation and recording.
   */
  async withSession<T>(
    contextTokens: number,
    work: (session: Session) => Promise<T>,
    options: { onProgress?: OnProgress | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    const release = await this.#enter();
    try {
      const session = await this.#sessionFor(contextTokens, options.onProgress, options.signal);
      session.reset();
      return await work(session);
    } catch (error) {
      this.#dropSession();
      throw error;
    } finally {
      release();
    }
  }

  /**
   * Ends the request in progress within a layer (it throws a {@link DisposedError}, as do those that wait for their turn), closes
   * the file and releases the memory. Safe to call twice, and from within a `generate` loop; not from the work of `withSession`,
   * whose end it waits for.
   */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(): Promise<void> {
    this.#closing.abort(new DisposedError("the model"));
    this.#endIdleTurn?.();
    await this.#turn;
    const { reader, onClose, file } = this.parts;
    const ends = [() => this.#dropSession(), () => reader.close(), () => onClose?.(), () => file.source.close()];
    const failures: unknown[] = [];
    // Whatever fails, all else is closed.
    for (const end of ends) {
      try {
        await end();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** While a request waits for its caller, the model may be closed. */
  #handOver(item: GeneratedToken, release: () => void): GeneratedToken {
    this.#endIdleTurn = release;
    return item;
  }

  /** @throws {DisposedError} if the model was closed meanwhile. */
  #takeBack(): void {
    this.#endIdleTurn = null;
    this.#closing.signal.throwIfAborted();
  }

  /** Waits for the request in progress; returns what ends this one. */
  async #enter(): Promise<() => void> {
    this.#closing.signal.throwIfAborted();
    const before = this.#turn;
    let release = () => {};
    this.#turn = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    if (this.#closing.signal.aborted) release();
    this.#closing.signal.throwIfAborted();
    return release;
  }

  /** The engine in use if it holds enough context, else a new one under a new plan. */
  async #sessionFor(contextTokens: number, onProgress?: OnProgress, signal?: AbortSignal): Promise<Session> {
    const plan = this.plan(contextTokens);
    const held = this.#session?.engine.parts.plan;
    // A plan for more context may have lower precision of keys and values: the same request must give the same bits.
    if (held && held.contextTokens >= contextTokens && held.kvPrecision === plan.kvPrecision) {
      return this.#session!;
    }
    this.#dropSession();
    const report = onProgress ?? this.options.onProgress;
    // At once: predictors are read before the weights that are counted.
    report?.({ phase: "load", loaded: 0, total: plan.dram.resident, unit: "bytes" });
    const engine = await Engine.create({
      ...this.#parts,
      plan,
      mode: this.mode,
      policy: this.#policy,
      threshold: this.options.threshold,
      residentMargin: this.options.residentMargin,
      mergeGapBytes: this.#mergeGapBytes,
      overlap: this.options.overlap ?? this.parts.overlap,
      readAhead: this.options.overlap,
      lookahead: this.options.lookahead ?? this.parts.lookahead,
      onLoaded: (loaded, total) => report?.({ phase: "load", loaded, total, unit: "bytes" }),
      signal,
      closing: this.#closing.signal,
    });
    this.#session = new Session(engine);
    return this.#session;
  }

  #dropSession(): void {
    const dropped = this.#session;
    this.#session = null;
    dropped?.engine.close();
  }

  /**
   * What the cost model expects of a run under a plan of this model; null where no device profile is known, nor what its predictor
   * names again, or in oracle mode, which is for study.
   *
   * @param sparsity Default: the predictor's own.
   */
  predict(
    plan: MemoryPlan,
    length: Omit<RunLength, "batchTokens">,
    sparsity?: SparsityStatistics,
  ): PredictedRun | null {
    const { profile, predictor } = this.parts;
    const { settings } = this;
    if (!profile || !settings) return null;
    return predictRun({ header: this.header, profile, predictor, plan, settings, length, sparsity: sparsity ?? null });
  }

  /**
   * The same from a recording of what the text names: bytes and reads as the engine will count them, and the scatter of tokens.
   *
   * @param warmUpTokens Decoded tokens that are left out of the means.
   * @returns Null without a device profile, or in another mode than `predicted`.
   */
  replay(plan: MemoryPlan, recorded: RecordedSets, warmUpTokens = 0): ReplayedRun | null {
    const { profile, predictor } = this.parts;
    const { settings } = this;
    if (!profile || settings?.mode !== "predicted") return null;
    const policy = this.#policy;
    return replayRun({ header: this.header, profile, predictor, plan, settings, policy, recorded, warmUpTokens });
  }

  /** What the engine is told, in the cost model's terms; null for the oracle, which is for study. */
  get settings(): EngineSettings | null {
    if (this.mode === "oracle") return null;
    const { threads, readers, mergeGapBytes } = this.threading;
    return {
      mode: this.mode,
      windowTokens: this.#policy.windowTokens ?? Number.POSITIVE_INFINITY,
      threads,
      readers,
      mergeGapBytes,
      overlap: this.options.overlap ?? this.parts.overlap ?? true,
    };
  }

  #summarize(
    plan: MemoryPlan,
    promptTokens: number,
    prefill: readonly TokenStats[],
    decode: readonly TokenStats[],
  ): RunStats {
    const dramBytes: DramAccount = plan.dram;
    const window = this.#policy.windowTokens;
    return summarizeRun({
      geometry: this.header.geometry,
      weights: this.header.weights,
      backend: this.parts.backend,
      ioMode: this.parts.reader.mode,
      mode: this.mode,
      kvDType: plan.kvPrecision,
      policy: `${this.#policy.policy}${window === null ? "" : ` ${window}`}`,
      ...this.threading,
      dramBytes,
      predicted: decode.length > 0 ? this.predict(plan, { promptTokens, decodeTokens: decode.length }) : null,
      prefill,
      decode,
    });
  }
}

function checkPolicy({ policy, windowTokens }: CachePolicyChoice): void {
  if (!POLICIES.includes(policy)) {
    throw new InputError(
      "INPUT_INVALID",
      `unknown cache policy ${JSON.stringify(policy)}, expected one of ${POLICIES.join(", ")}`,
    );
  }
  if (windowTokens !== null && !(Number.isInteger(windowTokens) && windowTokens >= 1)) {
    throw new InputError("INPUT_INVALID", `windowTokens is ${windowTokens}, expected an integer of at least 1`);
  }
}

function checkPredicted({ predictor, file }: ModelParts): void {
  const { geometry } = file.header;
  if (!predictor) {
    throw new InputError(
      "INPUT_INVALID",
      `${file.source.name}: predicted mode needs a predictor; train one, or run dense`,
    );
  }
  checkPredictor(predictor, file.header);
  if (geometry.activation !== "relu") {
    throw new UnsupportedError(
      "UNSUPPORTED_ACTIVATION",
      `${file.source.name}: ${geometry.activation} leaves no activation at zero, so no neuron can be left out; run dense`,
    );
  }
}
