/**
 * An open model: the object that a user holds. It plans its memory for each request, keeps one engine at a time and lets
 * one request run at a time; everything that is closed or aborted is released.
 */
import {
  DisposedError,
  hasExperts,
  hasResidentGate,
  InputError,
  isSparse,
  type OnProgress,
  type PredictedRun,
  type SparsityStatistics,
  UnsupportedError,
} from "@flashwick/core";
import type { DeviceProfile, EngineSettings, MemoryPlan, RunLength, SpeculationMeter } from "@flashwick/cost-model";
import type { ModelHeader } from "@flashwick/flash-format";
import { checkPredictor } from "@flashwick/predictor";
import { type CacheFit, cacheFit } from "./cache-fit.js";
import { type CachePolicyChoice, EXPERT_POLICY, POLICIES } from "./cache-policy.js";
import { type ChatMessage, type ChatTemplate, readChatTemplate } from "./chat/chat-template.js";
import {
  CACHE_SCOPES,
  type CacheScope,
  type EngineConfig,
  type NeuronMode,
  type PlannedPruning,
  resolveConfig,
} from "./engine-config.js";
import { EngineHolder, type LoadOptions } from "./engine-holder.js";
import { checkExpertsPerToken } from "./expert-choice.js";
import type { GeneratedToken } from "./generation.js";
import { checkHotExperts } from "./hot-experts.js";
import { withExpertsPerToken } from "./mixture-shape.js";
import type { GenerateOptions, ModelOptions, ModelParts } from "./model-options.js";
import { predictRun } from "./predicted-run.js";
import { checkPruning } from "./pruning/check-pruning.js";
import { parsePruningPlan } from "./pruning/pruning-plan.js";
import { type RecordedSets, type ReplayedRun, replayRun } from "./replayed-run.js";
import { RequestQueue } from "./request-queue.js";
import type { Sequence } from "./sequence.js";
import { openTextScheduler } from "./serving/open-text-scheduler.js";
import type { SchedulerOptions } from "./serving/served-request.js";
import type { TextScheduler } from "./serving/text-scheduler.js";
import { generateText, type RunSummary } from "./text-request.js";
import { noTokenizerError, type TextTokenizer } from "./text-tokenizer.js";
import { readTokenizer } from "./tokenizer/read-tokenizer.js";

const DEFAULT_IDLE_TIMEOUT_MS = 60_000;

/** An open model. */
export class Model {
  readonly options: ModelOptions;
  readonly config: EngineConfig;
  readonly #engines: EngineHolder;
  readonly #queue: RequestQueue;
  /** What drafting was worth so far, by drafter and verifier. */
  readonly #meters = new Map<string, SpeculationMeter>();
  #tokenizer: TextTokenizer | null = null;
  #chatTemplate: ChatTemplate | null = null;
  readonly #closing = new AbortController();
  #closed: Promise<void> | null = null;

  /**
   * Checks that the parts belong together and that the budget holds at least one token.
   *
   * @throws {IntegrityError} for a predictor of another model. {BudgetError} with the smallest budget that would do.
   * @throws {UnsupportedError} where the model cannot be run as asked.
   */
  constructor(parts: ModelParts, options: ModelOptions = {}) {
    this.options = options;
    const policy = { policy: options.policy ?? defaultPolicy(parts), windowTokens: options.windowTokens ?? null };
    checkPolicy(policy);
    checkScope(options.cacheScope ?? "layer");
    checkCount("maxSequences", options.maxSequences, Number.MAX_SAFE_INTEGER);
    const mode = options.mode ?? (options.pruning ? "pruned" : defaultMode(parts));
    const pruning = pruningOf(parts, mode, options);
    this.config = resolveConfig({ ...options, mode, policy, pruning }, parts, options.dramBudgetBytes);
    checkMargin(this.config);
    checkExpertsPerToken(parts.file.header.geometry, this.config.expertsPerToken);
    if (options.hotExperts) checkHotExperts(options.hotExperts, parts.file.header);
    if (mode === "predicted") checkPredicted(parts);
    this.#engines = new EngineHolder(parts, options, this.config, this.#closing.signal);
    this.#queue = new RequestQueue(this.#closing.signal, options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS);
    this.plan(1);
    const { signal } = options;
    signal?.throwIfAborted();
    const onAbort = () => void this.#close(signal!.reason).catch(() => {});
    signal?.addEventListener("abort", onAbort, { once: true, signal: this.#closing.signal });
  }

  /** Who does what. Whoever computes is replaced once, if a device is lost and the model goes on. */
  get parts(): ModelParts {
    return this.#engines.parts;
  }

  /** What the file's header says. */
  get header(): ModelHeader {
    return this.parts.file.header;
  }

  /** How neurons are named. */
  get mode(): NeuronMode {
    return this.config.mode;
  }

  /** Tokens that every sequence has room for, as `contextTokens` of the options came out; undefined: what each request needs. */
  get contextTokens(): number | undefined {
    return this.#engines.contextTokens;
  }

  /** Who computes and who reads, for reports. */
  get threading(): { readonly threads: number; readonly readers: number; readonly mergeGapBytes: number } {
    const { threads = 1, reader } = this.parts;
    return { threads, readers: reader.readers, mergeGapBytes: this.config.mergeGapBytes };
  }

  /** @throws {InputError} `INPUT_NO_TOKENIZER` if the file carries none. */
  get tokenizer(): TextTokenizer {
    const { tokenizerKind, values } = this.header;
    const { name } = this.parts.file.source;
    if (tokenizerKind === null) throw noTokenizerError(name);
    this.#tokenizer ??= readTokenizer(values, name);
    return this.#tokenizer;
  }

  /**
   * The template that makes one prompt of a conversation.
   *
   * @throws {InputError} `INPUT_NO_CHAT_TEMPLATE` if the file carries none. {FormatError} if it is no template.
   */
  get chatTemplate(): ChatTemplate {
    this.#chatTemplate ??= readChatTemplate(this.header.values, this.parts.file.source.name);
    return this.#chatTemplate;
  }

  /**
   * The memory plan of a request for `contextTokens` in all, or for what the model reserves if that is more.
   *
   * @throws {BudgetError} with the smallest budget that would do.
   */
  plan(contextTokens: number, kvPrecision = this.options.kvPrecision ?? "auto"): MemoryPlan {
    return this.#engines.plan(contextTokens, kvPrecision);
  }

  /** Whether the caches of that plan hold what one token uses, and the budget that would do. @throws As {@link plan}. */
  cacheFit(contextTokens = 1): CacheFit | null {
    return cacheFit(this.plan(contextTokens), this.header, this.config);
  }

  /**
   * Generates text after a prompt.
   *
   * @param prompt Text, or token ids (then no special token is added).
   * @throws {InputError} before the first token, for a prompt that is empty, too long or out of range; `INPUT_BUSY` when another request is left alone.
   * Breaking out of the loop, and the signal, end the request; what is loaded and computed stays. After an abort the signal's reason is thrown.
   */
  async *generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken, RunSummary> {
    return yield* generateText(this, this.#engines, this.#queue, this.#meters, prompt, options);
  }

  /**
   * Generates the next message of a conversation, as {@link generate} does. What it shares with the conversation before is neither loaded nor
   * computed again; with `contextTokens`, a longer one loads nothing anew.
   *
   * @param messages All of them so far, in turns; the last one is the user's.
   * @throws As {@link chatTemplate} and `ChatTemplate.render`; as `generate`.
   */
  chat(
    messages: readonly ChatMessage[],
    options: Omit<GenerateOptions, "sequence"> = {},
  ): AsyncGenerator<GeneratedToken, RunSummary> {
    const prompt = this.chatTemplate.render(messages, { addGenerationPrompt: true });
    return this.generate(this.tokenizer.encode(prompt, { parseSpecial: true }), options);
  }

  /**
   * A sequence of the caller's own, which outlives requests: a conversation. Release it when it is done.
   *
   * @param options `contextTokens`: default the model's own, or the longest context.
   * @throws {BudgetError} `BUDGET_SEQUENCES` if `maxSequences` are open. As `generate`, where the model is loaded.
   */
  async openSequence(options: LoadOptions & { readonly contextTokens?: number } = {}): Promise<Sequence> {
    const { contextTokens = this.contextTokens ?? this.header.geometry.contextLength } = options;
    const turn = await this.#queue.enter(options.signal);
    try {
      return await this.#engines.openSequence(contextTokens, options);
    } finally {
      turn.end();
    }
  }

  /**
   * Generates several texts at once, `maxSequences` of them, in the same steps: what a server stands on. Loads the model. Until the scheduler is closed, other
   * requests of the model are refused (`INPUT_BUSY`).
   *
   * A text is that of {@link generate} with the same options, bit for bit, where keys and values have the same precision: as they do with
   * `contextTokens` or a `kvPrecision` of one's own.
   *
   * @throws {InputError} `INPUT_INVALID` for options that make no sense, and with a `residentMargin`, or a γ below 1. {BudgetError} `BUDGET_SEQUENCES` if callers hold
   *   every sequence. As `generate`, where the model is loaded.
   */
  async openScheduler(options: SchedulerOptions & LoadOptions = {}): Promise<TextScheduler> {
    return await openTextScheduler(this, this.#engines, this.#queue, this.#closing.signal, options);
  }

  /**
   * Runs `work` with the model's own sequence, empty, with room for `contextTokens`, alone. For scoring, evaluation and recording.
   */
  async withSequence<T>(
    contextTokens: number,
    work: (sequence: Sequence) => Promise<T>,
    options: { readonly onProgress?: OnProgress | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    const turn = await this.#queue.enter(options.signal);
    try {
      const sequence = await this.#engines.ownSequence(contextTokens, options);
      sequence.rollback(0);
      return await work(sequence);
    } catch (error) {
      this.#engines.dropAfter(error);
      throw error;
    } finally {
      turn.end();
    }
  }

  /** Frees the memory of weights, caches and sequences, which end; the next request loads them again. Waits for the request in progress. */
  async unload(): Promise<void> {
    const turn = await this.#queue.enter();
    await this.#engines.freeWhenIdle();
    turn.end();
  }

  /**
   * Ends the request in progress within a layer (it throws a {@link DisposedError}, as do those that wait for their turn), closes
   * the file and releases the memory. Safe to call twice, and from within a `generate` loop; not from the work of `withSequence`,
   * whose end it waits for.
   */
  close(): Promise<void> {
    return this.#close(new DisposedError("the model"));
  }

  /** As {@link Model.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #close(reason: unknown): Promise<void> {
    this.#closed ??= this.#end(reason);
    return this.#closed;
  }

  async #end(reason: unknown): Promise<void> {
    this.#closing.abort(reason);
    await this.#queue.ended();
    const { reader, onClose, file } = this.parts;
    const ends = [
      () => this.#engines.freeWhenIdle(),
      () => reader.close(),
      () => onClose?.(),
      () => file.source.close(),
    ];
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

  /** Whether what a token uses depends on what the cache holds: routers that prefer resident experts. */
  get prefersResidentExperts(): boolean {
    return this.config.residentMargin > 0 && hasExperts(this.header.geometry);
  }

  /**
   * What the cost model expects of a run under a plan of this model; null where no device profile is known, nor what its predictor
   * names again, where routers prefer resident experts, or in oracle mode, which is for study.
   *
   * @param known `sparsity`: default the predictor's own. `profile`: default the model's own.
   */
  predict(
    plan: MemoryPlan,
    length: Omit<RunLength, "batchTokens">,
    known: { readonly sparsity?: SparsityStatistics | undefined; readonly profile?: DeviceProfile | undefined } = {},
  ): PredictedRun | null {
    const { predictor } = this.parts;
    const { sparsity = null, profile = this.parts.profile } = known;
    const { settings } = this;
    if (!profile || !settings || this.prefersResidentExperts) return null;
    const header = withExpertsPerToken(this.header, this.config.expertsPerToken);
    return predictRun({ header, profile, predictor, plan, settings, length, sparsity });
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
    const { policy } = this.config;
    return replayRun({ header: this.header, profile, predictor, plan, settings, policy, recorded, warmUpTokens });
  }

  /** What the engine is told, in the cost model's terms; null for the oracle, which is for study, and for pruned FFNs, which it has no price of. */
  get settings(): EngineSettings | null {
    const { mode, policy, overlap } = this.config;
    if (mode === "oracle" || mode === "pruned") return null;
    return { mode, windowTokens: policy.windowTokens ?? Number.POSITIVE_INFINITY, ...this.threading, overlap };
  }
}

/** What resident gates name is exact, and reads less than everything. */
function defaultMode({ predictor, file }: ModelParts): NeuronMode {
  if (predictor) return "predicted";
  return hasResidentGate(file.header) && isSparse(file.header.geometry) ? "gate-first" : "dense";
}

/** Of neurons the paper's; of columns what their bytes were counted with (docs/results/sparsity.md). */
function defaultPolicy({ file }: ModelParts): CachePolicyChoice["policy"] {
  const { geometry, weights } = file.header;
  return hasExperts(geometry) || weights.layout === "columns" ? EXPERT_POLICY.policy : "window";
}

/** @throws {InputError} `INPUT_INVALID`. {UnsupportedError} `UNSUPPORTED_FEATURE`. */
function pruningOf({ file }: ModelParts, mode: NeuronMode, { pruning }: ModelOptions): PlannedPruning | null {
  if (mode !== "pruned" && !pruning) return null;
  const { header, source } = file;
  if (mode !== "pruned" || !pruning) {
    const found = pruning ? `mode ${mode} with a plan` : "none";
    throw new InputError("INPUT_INVALID", `${source.name}: pruned mode needs a pruning plan, found ${found}`);
  }
  const plan = parsePruningPlan(pruning.plan, "pruning plan", header.geometry);
  const { gamma = 1 } = pruning;
  checkPruning(header, plan, gamma);
  return { plan, gamma };
}

function checkPolicy({ policy, windowTokens }: CachePolicyChoice): void {
  if (!POLICIES.includes(policy)) {
    throw new InputError(
      "INPUT_INVALID",
      `unknown cache policy ${JSON.stringify(policy)}, expected one of ${POLICIES.join(", ")}`,
    );
  }
  checkCount("windowTokens", windowTokens ?? undefined, Number.MAX_SAFE_INTEGER);
}

function checkScope(scope: CacheScope): void {
  if (CACHE_SCOPES.includes(scope)) return;
  const expected = CACHE_SCOPES.join(" or ");
  throw new InputError("INPUT_INVALID", `unknown cacheScope ${JSON.stringify(scope)}, expected ${expected}`);
}

function checkCount(name: string, count: number | undefined, most: number): void {
  if (count === undefined || (Number.isInteger(count) && count >= 1 && count <= most)) return;
  const range = most === Number.MAX_SAFE_INTEGER ? "of at least 1" : `from 1 to ${most}`;
  throw new InputError("INPUT_INVALID", `${name} is ${count}, expected an integer ${range}`);
}

function checkMargin({ residentMargin, routerKeep }: EngineConfig): void {
  if (!(residentMargin >= 0 && residentMargin < Number.POSITIVE_INFINITY)) {
    throw new InputError("INPUT_INVALID", `residentMargin is ${residentMargin}, expected a number of at least 0`);
  }
  if (Number.isInteger(routerKeep) && routerKeep >= 0) return;
  throw new InputError("INPUT_INVALID", `routerKeep is ${routerKeep}, expected an integer of at least 0`);
}

function checkPredicted({ predictor, file }: ModelParts): void {
  const { geometry } = file.header;
  // First: whoever trained a predictor for such a model would have done so in vain.
  if (!isSparse(geometry)) {
    throw new UnsupportedError(
      "UNSUPPORTED_ACTIVATION",
      `${file.source.name}: ${geometry.layers[0]!.ffn.activation} leaves no activation at zero, so no neuron can be left out; run dense`,
    );
  }
  if (!predictor) {
    throw new InputError(
      "INPUT_INVALID",
      `${file.source.name}: predicted mode needs a predictor; train one, or run dense`,
    );
  }
  checkPredictor(predictor, file.header);
}
