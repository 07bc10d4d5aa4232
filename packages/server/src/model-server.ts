/**
 * A server of one model, as a function from requests to responses: OpenAI's routes, and those of an operator. It listens to nothing by itself, and
 * touches neither files nor the network; `./node` gives it a socket.
 *
 * Invariants: what a request names (paths, models) is only ever compared; a text whose reader is gone ends within a token; every request is counted
 * once, under the route that is declared.
 */
import { type Context, Hono, type Next } from "hono";
import { isLoopbackHeader } from "./allowed-host.js";
import { answerEvents, answerHead, wholeAnswer } from "./answers.js";
import { ApiError, notFound, renamedField, toApiError } from "./api-error.js";
import { ApiKeys } from "./api-keys.js";
import { eventStream } from "./event-stream.js";
import { readJsonBody } from "./json-body.js";
import { type PlanAnswer, type PlannedAnswer, planChat, planCompletion, planResponse } from "./planned-answer.js";
import { RateLimit } from "./rate-limit.js";
import { CLIENT_GONE, ClientGoneError, RequestWatch } from "./request-watch.js";
import { RESPONSE_FIELDS } from "./response-order.js";
import { checkModelName, modelDocument } from "./served-model.js";
import { DEFAULTS, type ServerOptions } from "./server-options.js";
import { TextRun, type TextRunner } from "./text-run.js";

type ServerContext = Context<{ Variables: { watch: RequestWatch } }>;

const STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
  // Tells @hono/node-server that there is no end to wait for before it sends the head.
  "transfer-encoding": "chunked",
};
/** What a drained server tells balancers to come back after. */
const DRAIN_RETRY_SECONDS = 5;

/** Answers requests of OpenAI's API for one model. */
export class ModelServer {
  readonly #runner: TextRunner;
  readonly #options: ServerOptions;
  readonly #app = new Hono<{ Variables: { watch: RequestWatch } }>();
  readonly #keys: ApiKeys | null;
  readonly #rate: RateLimit | null;
  /** Requests that have not been answered yet. */
  readonly #open = new Set<RequestWatch>();
  /** A request for texts that comes from now on is refused. */
  #isDraining = false;

  constructor(runner: TextRunner, options: ServerOptions = {}) {
    this.#runner = runner;
    this.#options = options;
    const { apiKeys = [], requestsPerMinute } = options;
    this.#keys = apiKeys.length > 0 ? new ApiKeys(apiKeys) : null;
    this.#rate = requestsPerMinute === undefined ? null : new RateLimit(requestsPerMinute, runner.clock);
    this.#declareRoutes();
  }

  /**
   * Answers a request. Never throws.
   *
   * @param platform What `clientOf` of the options understands.
   */
  async fetch(request: Request, platform: object = {}): Promise<Response> {
    return await this.#app.fetch(request, platform);
  }

  /** From now on requests for texts get 503, and `/health` says so; those that are there go on. */
  beginDrain(): void {
    this.#isDraining = true;
  }

  /** Ends every text that is generated, and takes no more. */
  close(): void {
    this.beginDrain();
    const reason = new ApiError({ status: 503, message: "the server is ending", code: "ending" });
    for (const { ending } of this.#open) ending.abort(reason);
  }

  #declareRoutes(): void {
    const app = this.#app;
    app.onError((error, context) => this.#failed(error, context));
    app.notFound(() => notFound("nothing is served here", "not_found").response);
    this.#declare("GET", "/health", () => this.#health());
    this.#declare("GET", "/metrics", (context) => this.#metrics(context));
    this.#declare("GET", "/v1/models", (context) => context.json({ object: "list", data: [this.#model] }));
    this.#declare("GET", "/v1/models/:model{.+}", (context) => this.#describe(context));
    this.#declare("POST", "/v1/completions", (context) => this.#texts(context, planCompletion));
    this.#declare("POST", "/v1/chat/completions", (context) => this.#texts(context, planChat));
    this.#declare("POST", "/v1/responses", (context) =>
      this.#texts(context, planResponse).catch((error) => {
        throw renamedField(error, RESPONSE_FIELDS);
      }),
    );
    app.use("*", (context, next) => this.#watch("*", context, next));
  }

  /** One route: watched, guarded, and refused for other methods. */
  #declare(
    method: "GET" | "POST",
    path: string,
    answer: (context: ServerContext) => Response | Promise<Response>,
  ): void {
    this.#app.use(path, (context, next) => this.#watch(path, context, next));
    this.#app.use(path, (context, next) => this.#guard(path, context, next));
    this.#app.on(method, path, answer);
    this.#app.all(path, () => {
      throw new ApiError({ status: 405, message: `expected the method ${method}`, code: "method_not_allowed" });
    });
  }

  async #watch(route: string, context: ServerContext, next: Next): Promise<void> {
    const { metrics, clock } = this.#runner;
    const { onRequest } = this.#options;
    const onEnd = (ended: RequestWatch) => void this.#open.delete(ended);
    const watch = new RequestWatch({ metrics, clock, onRequest, onEnd }, context.req.method, route);
    this.#open.add(watch);
    context.set("watch", watch);
    await next();
    if (this.#options.replicaId !== undefined) context.header("x-replica-id", this.#options.replicaId);
    if (!watch.streams) watch.end(context.res.status);
  }

  async #guard(route: string, context: ServerContext, next: Next): Promise<void> {
    const { loopbackOnly = this.#keys === null } = this.#options;
    const host = context.req.header("host") ?? new URL(context.req.url).host;
    if (loopbackOnly && !isLoopbackHeader(host)) throw foreignHost();
    // Balancers have no key, and learn nothing by it.
    if (route !== "/health" && this.#keys && !(await this.#keys.admit(context.req.header("authorization") ?? null))) {
      throw wrongKey();
    }
    await next();
  }

  #failed(error: unknown, context: ServerContext): Response {
    const watch = context.get("watch");
    // Nobody reads this answer.
    if (error instanceof ClientGoneError) return new Response(null, { status: CLIENT_GONE });
    const failure = toApiError(error);
    if (failure.status >= 500 && watch) watch.failure = failure.cause ?? null;
    return failure.response;
  }

  #health(): Response {
    const status = this.#isDraining ? "draining" : "ok";
    return Response.json({ status, ...this.#runner.scheduler.load }, { status: this.#isDraining ? 503 : 200 });
  }

  async #metrics(context: ServerContext): Promise<Response> {
    const { metrics } = this.#runner;
    return context.body(await metrics.text(), 200, { "content-type": metrics.contentType });
  }

  get #model(): object {
    return modelDocument(this.#runner.served);
  }

  #describe(context: ServerContext): Response {
    checkModelName(this.#runner.served, context.req.param("model") ?? "");
    return context.json(this.#model);
  }

  async #texts(context: ServerContext, plan: PlanAnswer): Promise<Response> {
    this.#checkLoad(context);
    const body = await readJsonBody(context.req.raw, this.#options.maxBodyBytes ?? DEFAULTS.maxBodyBytes);
    const planned = plan(body, this.#runner.served, anySeed());
    const { order, form, prefix, readsCalls } = planned;
    const watch = context.get("watch");
    watch.endWith(context.req.raw.signal);
    const run = await TextRun.start(this.#runner, order, readsCalls, watch.ending.signal);
    watch.run = run;
    const head = answerHead(this.#runner.served, prefix, this.#runner.nowSeconds());
    if (order.streams) return this.#stream(context, run, planned, head);
    return context.json(await wholeAnswer(run, form, head));
  }

  #stream(
    context: ServerContext,
    run: TextRun,
    { order, form }: PlannedAnswer,
    head: ReturnType<typeof answerHead>,
  ): Response {
    const { pingMs = DEFAULTS.pingMs, stallMs = DEFAULTS.stallMs, disconnect } = this.#options;
    const watch = context.get("watch");
    watch.streams = true;
    const onEnd = (failure?: unknown) => {
      if (failure !== undefined) watch.failure = toApiError(failure).cause ?? null;
      watch.end(watch.isAbandoned ? CLIENT_GONE : 200);
    };
    const events = answerEvents(run, form.stream(head, order.texts.length), onEnd);
    const onAbandoned = () => {
      watch.ending.abort(new ClientGoneError());
      void run.end().then(() => onEnd());
    };
    const reading = { pingMs, stallMs, onAbandoned, disconnect: disconnect && (() => disconnect(context.env)) };
    return new Response(eventStream(events, reading), { headers: STREAM_HEADERS });
  }

  #checkLoad(context: ServerContext): void {
    if (this.#isDraining) {
      const message = "the server takes no new texts; another replica does";
      throw new ApiError({ status: 503, message, code: "draining", retryAfterSeconds: DRAIN_RETRY_SECONDS });
    }
    const seconds = this.#rate?.take(this.#options.clientOf?.(context.env) ?? "") ?? 0;
    if (seconds === 0) return;
    const message = "too many requests in this minute; try again after the seconds that Retry-After names";
    throw new ApiError({ status: 429, message, code: "rate_limit_exceeded", retryAfterSeconds: seconds });
  }
}

/** Where a request names none: another one each time. */
function anySeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

function wrongKey(): ApiError {
  const message = "expected the header authorization: Bearer <key>, with a key of this server";
  return new ApiError({ status: 401, message, code: "invalid_api_key" });
}

function foreignHost(): ApiError {
  const message =
    "a server without keys answers only requests that name this machine, localhost or 127.0.0.1, as their host";
  return new ApiError({ status: 403, message, code: "foreign_host" });
}
