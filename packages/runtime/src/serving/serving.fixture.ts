/** Test support: the same request alone and beside others. */
import { eventLoopTurn } from "@flashwick/core";
import type { Model } from "../model.js";
import type { ServedRequest, ServedSummary, ServedToken } from "./served-request.js";
import type { TextScheduler } from "./text-scheduler.js";

export interface FinishedText {
  readonly tokens: readonly number[];
  readonly text: string;
  readonly finishReason: string;
}

/** What `model.generate` gives for the request. */
export async function generateAlone(model: Model, { prompt, ...options }: ServedRequest): Promise<FinishedText> {
  let text = "";
  const run = model.generate(prompt, options);
  for (;;) {
    const next = await run.next();
    if (next.done) return { tokens: next.value.tokens, text, finishReason: next.value.finishReason };
    text += next.value.text;
  }
}

/** Takes a text to its end. */
export async function readText(
  run: AsyncGenerator<ServedToken, ServedSummary>,
  onToken: (token: ServedToken) => unknown = () => {},
): Promise<FinishedText & { readonly summary: ServedSummary }> {
  let text = "";
  const tokens: number[] = [];
  for (;;) {
    const next = await run.next();
    if (next.done) return { tokens, text, finishReason: next.value.finishReason, summary: next.value };
    text += next.value.text;
    if (next.value.token !== null) tokens.push(next.value.token);
    await onToken(next.value);
  }
}

/** One request of a random crowd, and what its consumer does. */
export interface Guest {
  readonly request: ServedRequest;
  /** Turns of the event loop before it comes, and before it takes each token. */
  readonly comesAfter: number;
  readonly dawdles: number;
  /** Tokens after which it leaves, and how; null: it stays. */
  readonly leaves: { readonly after: number; readonly by: "break" | "abort" } | null;
}

/** What the guest got: a whole text, or the tokens until it left. */
export interface Served {
  readonly tokens: readonly number[];
  readonly whole: FinishedText | null;
}

/** Comes, takes tokens and perhaps leaves. */
export async function serveGuest(scheduler: TextScheduler, guest: Guest): Promise<Served> {
  const { request, comesAfter, dawdles, leaves } = guest;
  const controller = new AbortController();
  const reason = new Error("the guest has left");
  const tokens: number[] = [];
  await turns(comesAfter);
  const run = scheduler.generate({ ...request, signal: controller.signal });
  const onToken = async ({ token }: ServedToken) => {
    if (token !== null) tokens.push(token);
    await turns(dawdles);
    if (leaves?.after !== tokens.length || token === null) return;
    if (leaves.by === "abort") controller.abort(reason);
    else throw reason;
  };
  try {
    const { text, finishReason } = await readText(run, onToken);
    return { tokens, whole: { tokens, text, finishReason } };
  } catch (error) {
    await run.return(undefined as never);
    if (error !== reason) throw error;
    return { tokens, whole: null };
  }
}

export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await eventLoopTurn();
}
