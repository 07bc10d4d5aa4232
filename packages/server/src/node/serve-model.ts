/** A model on a socket: scheduler, grammars, routes and listener, assembled. */
import { InputError } from "@flashwick/core";
import type { Model, PrefixStore, TextScheduler } from "@flashwick/runtime";
import { isLoopback } from "../allowed-host.js";
import { ModelServer } from "../model-server.js";
import { describeModel } from "../served-model.js";
import { ServerMetrics } from "../server-metrics.js";
import type { ServerOptions } from "../server-options.js";
import type { GrammarSource } from "../text-grammar.js";
import { readTokenBytes } from "../token-bytes.js";
import { GrammarThreads } from "./grammar-threads.js";
import { addressOf, breakConnection, HttpListener, type ListenOptions } from "./http-listener.js";

/** How a model is served. */
export interface ServeOptions extends Omit<ServerOptions, "clientOf" | "disconnect" | "loopbackOnly">, ListenOptions {
  /** Texts that may wait while as many as there are sequences are generated; one more gets 429. Default 16. */
  readonly maxQueue?: number;
  /** Keeps pages of prompts beyond this process, as `openPrefixFolder` of the runtime does. Default: none. */
  readonly prefixStore?: PrefixStore;
}

const DEFAULT_MAX_QUEUE = 16;

/** A server that listens. */
export interface RunningServer {
  /** Where: `http://127.0.0.1:8080`. */
  readonly url: string;
  /** What clients call the model. */
  readonly model: string;
  /** Refuses new texts, lets those that are there end, then closes. The model stays open. */
  drain(): Promise<void>;
  /** Ends texts and connections at once. The model stays open. Safe to call twice, and while draining. */
  close(): Promise<void>;
}

/**
 * Serves a model to clients of OpenAI's API.
 *
 * As many texts are generated at once as the model has sequences (`maxSequences`), each of up to `contextTokens`; nobody else can use the model meanwhile.
 *
 * @throws {InputError} `INPUT_INVALID` for a host beyond this machine without keys, and where nothing can listen; `INPUT_NO_TOKENIZER`.
 * @throws As `Model.openScheduler`, which loads the model.
 */
export async function serveModel(model: Model, options: ServeOptions = {}): Promise<RunningServer> {
  checkReach(options);
  const { maxQueue = DEFAULT_MAX_QUEUE, prefixStore } = options;
  const scheduler = await model.openScheduler({ maxQueue, ...(prefixStore && { prefixStore }) });
  try {
    return await listen(model, scheduler, maxQueue, options);
  } catch (error) {
    await scheduler.close();
    throw error;
  }
}

async function listen(
  model: Model,
  scheduler: TextScheduler,
  maxQueue: number,
  options: ServeOptions,
): Promise<RunningServer> {
  const nowSeconds = () => Date.now() / 1000;
  const served = describeModel(model, model.parts.file.source.name, nowSeconds());
  const grammars = grammarsOf(model, scheduler.load.sequences, maxQueue);
  const metrics = new ServerMetrics(scheduler, options.replicaId ?? null);
  const clock = () => performance.now();
  const server = new ModelServer(
    { served, scheduler, grammars, metrics, clock, nowSeconds },
    { ...options, loopbackOnly: !options.apiKeys?.length, clientOf: addressOf, disconnect: breakConnection },
  );
  const listener = await HttpListener.listen((request, platform) => server.fetch(request, platform), options);
  return new ListeningServer(server, listener, scheduler, grammars, served.name);
}

class ListeningServer implements RunningServer {
  readonly model: string;
  readonly #server: ModelServer;
  readonly #listener: HttpListener;
  readonly #scheduler: TextScheduler;
  readonly #grammars: GrammarSource | null;
  #ended: Promise<void> | null = null;

  constructor(
    server: ModelServer,
    listener: HttpListener,
    scheduler: TextScheduler,
    grammars: GrammarSource | null,
    model: string,
  ) {
    this.model = model;
    this.#server = server;
    this.#listener = listener;
    this.#scheduler = scheduler;
    this.#grammars = grammars;
  }

  get url(): string {
    return this.#listener.url;
  }

  async drain(): Promise<void> {
    this.#server.beginDrain();
    await this.#scheduler.drain();
    await this.#end();
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#listener.break();
    await this.#end();
  }

  #end(): Promise<void> {
    this.#ended ??= this.#release();
    return this.#ended;
  }

  async #release(): Promise<void> {
    await this.#listener.end();
    await this.#scheduler.close();
    await this.#grammars?.close();
  }
}

/** As many threads as there are sequences: a text that waits for its grammar waits for its turn. */
function grammarsOf({ header }: Model, sequences: number, maxQueue: number): GrammarThreads | null {
  const bytes = readTokenBytes(header.values);
  if (bytes === null) return null;
  const { vocabSize, eosTokenId: stopToken } = header.geometry;
  return new GrammarThreads({ bytes, vocabSize, stopToken }, { threads: sequences, maxWaiting: maxQueue });
}

/** Anybody could use a server that the network reaches. */
function checkReach({ host = "127.0.0.1", apiKeys = [] }: ServeOptions): void {
  if (isLoopback(host) || apiKeys.length > 0) return;
  throw new InputError(
    "INPUT_INVALID",
    `the host ${host} can be reached from other machines, and there is no API key; give one, or listen on 127.0.0.1`,
  );
}
