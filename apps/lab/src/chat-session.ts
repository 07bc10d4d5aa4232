/**
 * A conversation with a stored model. The model stays open from one reply to the next: what the conversation shares with the one before is neither
 * loaded nor computed again. The page has the messages; they come whole with every request.
 */
import { formatBytes, InputError, isFlashwickError, type OnProgress } from "@flashwick/core";
import { StepWatch } from "@flashwick/drawings";
import type { ModelStore } from "@flashwick/flash-io/opfs";
import type { Model } from "@flashwick/runtime";
import type { ChatRequest, ReplyFigures } from "./messages.js";
import { CONVERSATION, factsOf, openAsSet } from "./model-opening.js";
import type { Task } from "./task.js";
import { draftOptions, type NamedSets, RunMeter, streamRun, textFigures, type UnitTrace } from "./text-run.js";

export class ChatSession {
  readonly #store: ModelStore;
  #open: { readonly as: string; readonly model: Model } | null = null;

  constructor(store: ModelStore) {
    this.#store = store;
  }

  /**
   * Says the next message of a conversation, as it comes, and what it cost. Where the task is stopped, what had come is the message.
   *
   * @returns The neurons, or experts, that it named; of no token where it was stopped.
   * @throws As `openStoredModel` and `Model.chat`.
   */
  async reply(request: ChatRequest, task: Task): Promise<UnitTrace> {
    const { signal, say } = task;
    const meter = new RunMeter();
    const model = await this.#modelFor(request, task);
    const facts = factsOf(model, 1, request.drafts);
    say({ kind: "run", facts });
    const watch = new StepWatch(facts);
    let promptTokens = 0;
    let sets: NamedSets = [];
    const onProgress: OnProgress = (progress) => {
      if (progress.phase === "prefill") promptTokens = progress.total;
      say({ kind: "note", message: progressText(progress) });
    };
    const { messages, maxTokens, temperature, drafts } = request;
    try {
      const options = { maxTokens, temperature, ...draftOptions(drafts), ...watch.observers, onProgress, signal };
      sets = await streamRun(model, model.chat(messages, options), watch, meter, task);
    } catch (error) {
      if (!signal.aborted) throw await this.#failure(error);
    }
    say({ kind: "replied", figures: figuresOf(model, meter, promptTokens, sets.length) });
    const { unit, nLayers, dFf } = facts;
    return { unit, nLayers, dFf, tokens: sets };
  }

  /** Closes the model, which is then opened by the next reply. */
  async close(): Promise<void> {
    const open = this.#open;
    this.#open = null;
    await open?.model.close();
  }

  /** What is wrong with a message leaves the model as it is; whatever else goes wrong is over with it. */
  async #failure(error: unknown): Promise<unknown> {
    if (!isFlashwickError(error) || !error.code.startsWith("INPUT_")) {
      await this.close();
      return error;
    }
    if (error.code !== "INPUT_CONTEXT_LENGTH") return error;
    const { tokens, contextTokens, contextLength } = error.details as Readonly<Record<string, number>>;
    const message =
      `the conversation would have ${tokens} tokens, and there is room for ${contextTokens ?? contextLength}; shorten the message, ` +
      "reset the conversation, or give more memory";
    return new InputError(error.code, message, { cause: error });
  }

  async #modelFor(request: ChatRequest, task: Task): Promise<Model> {
    const { messages: _, maxTokens, temperature, drafts, ...of } = request;
    const as = JSON.stringify(of);
    if (this.#open?.as === as) return this.#open.model;
    await this.close();
    const model = await openAsSet(this.#store, request.model, request, task, CONVERSATION);
    this.#open = { as, model };
    return model;
  }
}

function progressText({ phase, loaded, total }: Parameters<OnProgress>[0]): string {
  return phase === "prefill"
    ? `Taking in the message: ${loaded} of ${total} tokens.`
    : `Loading what stays in memory: ${formatBytes(loaded)} of ${formatBytes(total)}.`;
}

function figuresOf(model: Model, meter: RunMeter, promptTokens: number, replayable: number): ReplyFigures {
  const contextTokens = model.contextTokens!;
  const figures = textFigures(model, meter, model.plan(1).dram.total, replayable);
  const usedTokens = promptTokens + figures.tokens.length;
  const end = figures.end === "length" && usedTokens >= contextTokens ? "context" : figures.end;
  return { ...figures, end, usedTokens, contextTokens };
}
