/** Test support: a scheduler whose texts go on when the test says so, and a server on it. */
import { QueueFullError, type ServedRequest, type ServedSummary, type ServedToken } from "@flashwick/runtime";
import { ModelServer } from "./model-server.js";
import type { ServedModel } from "./served-model.js";
import { ServerMetrics } from "./server-metrics.js";
import type { RequestRecord, ServerOptions } from "./server-options.js";

/** A text that the scheduler was asked for. */
export interface HeldText {
  readonly request: ServedRequest;
  /** Gives the next token. */
  give(text: string): void;
  end(): void;
  fail(error: Error): void;
  /** Resolves when the text has ended, however that was. */
  readonly ended: Promise<void>;
}

export interface HeldServer {
  readonly server: ModelServer;
  readonly texts: readonly HeldText[];
  readonly records: readonly RequestRecord[];
  /** From now on no more than so many texts are taken; further ones find the queue full. */
  fill(places: number): void;
  /** Resolves when `count` texts have been asked for. */
  asked(count: number): Promise<void>;
  complete(body: object, init?: RequestInit): Promise<Response>;
}

/** @param model What is different about the model that is served. */
export function holdServer(options: ServerOptions = {}, model: Partial<ServedModel> = {}): HeldServer {
  const texts: HeldText[] = [];
  const records: RequestRecord[] = [];
  const waiting: { readonly count: number; readonly tell: () => void }[] = [];
  let places = Number.POSITIVE_INFINITY;
  const scheduler = {
    load: { running: 0, waiting: 0, sequences: 2 },
    generate(request: ServedRequest) {
      const { text, steps } = holdText(request, texts.length >= places);
      texts.push(text);
      for (const { count, tell } of waiting) if (texts.length >= count) tell();
      return steps;
    },
  };
  const server = new ModelServer(
    {
      served: { ...served, ...model },
      scheduler,
      grammars: null,
      metrics: new ServerMetrics(scheduler, null),
      clock: () => 0,
      nowSeconds: () => 0,
    },
    { onRequest: (record) => records.push(record), ...options },
  );
  return {
    ...{ server, texts, records },
    fill: (count) => {
      places = count;
    },
    asked: (count) =>
      new Promise((tell) => {
        if (texts.length >= count) tell();
        else waiting.push({ count, tell });
      }),
    complete: (body, init = {}) =>
      server.fetch(
        new Request("http://localhost/v1/completions", {
          method: "POST",
          body: JSON.stringify({ model: "held", prompt: [1, 2], ...body }),
          ...init,
          headers: { "content-type": "application/json", ...init.headers },
        }),
      ),
  };
}

const served: ServedModel = {
  ...{ name: "held", createdSeconds: 0, fingerprint: "fw_0", contextTokens: 100, vocabSize: 10, chatTemplate: null },
  tokenizer: { encode: () => [1], decode: () => "x" },
};

function holdText(request: ServedRequest, isFull: boolean) {
  const queue: (ServedToken | Error | null)[] = [];
  let wake = () => {};
  let tellEnd = () => {};
  const ended = new Promise<void>((resolve) => (tellEnd = resolve));
  const push = (item: ServedToken | Error | null) => {
    queue.push(item);
    wake();
  };
  async function* steps(): AsyncGenerator<ServedToken, ServedSummary> {
    try {
      if (isFull) throw new QueueFullError({ waiting: 3, retryAfterSeconds: 7 });
      for (;;) {
        request.signal?.throwIfAborted();
        const item = queue.shift();
        if (item instanceof Error) throw item;
        if (item === null) return SUMMARY;
        if (item) yield item;
        else await pause();
      }
    } finally {
      tellEnd();
    }
  }
  const pause = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
      request.signal?.addEventListener("abort", () => resolve(), { once: true });
    });
  const text: HeldText = {
    ...{ request, ended },
    give: (word) => push({ text: word, token: 1, logprob: null, finishReason: null }),
    end: () => push(null),
    fail: push,
  };
  return { text, steps: steps() };
}

const SUMMARY: ServedSummary = {
  ...{ promptTokens: 2, reusedTokens: 1, tokens: [1], finishReason: "stop" },
  ...{ queuedMs: 0, promptMs: 0, decodeMs: 0, flashBytes: 0, hits: 0, misses: 0 },
};
