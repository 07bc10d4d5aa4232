/** The engine of the page: store, model and runs, in a worker of their own, so that nothing they do holds the page up. */
import { isFlashwickError } from "@flashwick/core";
import { ModelStore } from "@flashwick/flash-io/opfs";
import { simulateTrace, studyPolicies } from "@flashwick/runtime";
import { openStoredModel } from "@flashwick/runtime/browser";
import { ChatSession } from "./chat-session.js";
import { sha256Of } from "./checksum.js";
import { KernelGuard } from "./kernel-guard.js";
import type { GenerateRequest, NumberedAnswer, NumberedRequest, Proof, Request } from "./messages.js";
import { describeModel } from "./model-facts.js";
import { BUNDLED, importBundled, importChosen, importFrom, tellState } from "./model-imports.js";
import { openAsSet } from "./model-opening.js";
import { pullModel } from "./model-pull.js";
import { predict } from "./prediction.js";
import { prove } from "./proof.js";
import { testKernels } from "./self-test.js";
import type { Task } from "./task.js";
import { generateText, type UnitTrace } from "./text-run.js";
import { train } from "./training.js";

let store: ModelStore;
let chat: ChatSession;
let guard: KernelGuard;
const underWay = new Map<number, AbortController>();
/** Named sets of the last run, for the simulator. */
let trace: UnitTrace | null = null;

self.onmessage = async ({ data: { task: number, request } }: MessageEvent<NumberedRequest>) => {
  if (request.kind === "stop") {
    return underWay.get(request.task)?.abort(new DOMException("stopped", "AbortError"));
  }
  const stop = new AbortController();
  underWay.set(number, stop);
  const say: Task["say"] = (answer, transfer = []) => {
    const message: NumberedAnswer = { task: number, answer };
    self.postMessage(message, { transfer });
  };
  try {
    await carryOut(request, { say, signal: stop.signal });
  } catch (error) {
    if (request.kind === "predict") say({ kind: "prediction", prediction: { fits: false, why: messageOf(error) } });
    else if (stop.signal.aborted) say({ kind: "stopped", replayable: replayable() });
    else say({ kind: "error", message: messageOf(error) });
  } finally {
    underWay.delete(number);
    say({ kind: "ended" });
  }
};

function messageOf(error: unknown): string {
  if (isFlashwickError(error)) return `${error.message} (${error.code})`;
  return error instanceof Error ? error.message : String(error);
}

async function carryOut(request: Request, task: Task): Promise<void> {
  const { say } = task;
  switch (request.kind) {
    case "start":
      store = await ModelStore.open();
      chat = new ChatSession(store);
      return await start(task);
    case "restoreDemo":
      return await importing(() => importBundled(store, task), task);
    case "checksum":
      return say({ kind: "checksum", model: request.model, sha256: await sha256Of(store, request.model, task) });
    case "importFile":
      return await importing(() => importChosen(store, request.file, task), task);
    case "importUrl":
      return await importing(() => importFrom(store, request.url, task), task);
    case "pull":
      return await importing(() => pullModel(store, request.what, request.endpoint, task), task);
    case "delete":
      await chat.close();
      await store.delete(request.name);
      return await tellState(store, task);
    case "describe":
      return say({ kind: "described", facts: await describeModel(store, request.model) });
    case "generate":
      await guard.allow(request.model, "run");
      await chat.close();
      trace = await generate(request, task);
      return;
    case "chat":
      await guard.allow(request.model, "run");
      trace = await chat.reply(request, task);
      return;
    case "train":
      await guard.allow(request.model, "train");
      await chat.close();
      return await train(store, request.model, request.tokens, task);
    case "predict":
      return say({ kind: "prediction", prediction: await predict(store, request, task) });
    case "prove":
      await guard.allow(request.model, "run");
      await chat.close();
      return say({ kind: "proof", proof: await proveHere(request, task) });
    case "simulate":
      return simulate(request.slotShares, task);
    case "stop":
  }
}

/** What is stored is told first: the self-test goes on beside it, and runs wait for it. */
async function start(task: Task): Promise<void> {
  const test = testKernels();
  guard = new KernelGuard(store, test);
  if (!(await store.has(BUNDLED.at(-1)!))) await importBundled(store, task);
  await tellState(store, task);
  task.say({ kind: "selfTested", test: await test });
}

/** The page is told what is stored however it ends: what an import has left goes on another time. */
async function importing(work: () => Promise<void>, task: Task): Promise<void> {
  try {
    await work();
  } finally {
    await tellState(store, task);
  }
}

async function generate(request: GenerateRequest, task: Task): Promise<UnitTrace> {
  const model = await openAsSet(store, request.model, request, task);
  try {
    return await generateText(model, request, task);
  } finally {
    await model.close();
  }
}

/** The settings' sparse run beside the dense model with all memory it wants. */
async function proveHere(request: GenerateRequest, task: Task): Promise<Proof> {
  const { say, signal } = task;
  const models = {
    sparse: () => openAsSet(store, request.model, request, task),
    dense: (kvPrecision: Proof["kvPrecision"]) =>
      openStoredModel(store, request.model, {
        mode: "dense",
        predictor: null,
        kvPrecision,
        backend: request.backend,
        threads: request.threads ?? "auto",
      }),
  };
  const onToken = (what: string, loaded: number, total: number) =>
    say({ kind: "progress", what, loaded, total, detail: "tokens" });
  return await prove(models, request, { onToken, signal });
}

function replayable(): number {
  return trace?.tokens.length ?? 0;
}

function simulate(slotShares: readonly number[], { say }: Task): void {
  if (trace === null || trace.tokens.length < 8) {
    throw new Error("nothing to replay yet: generate at least eight tokens first");
  }
  const { unit, dFf, tokens } = trace;
  // Shares of few experts may come to the same number.
  const sizes = [...new Set(slotShares.map((share) => Math.max(1, Math.round(share * dFf))))];
  const rows = sizes.flatMap((slots) =>
    studyPolicies(false).map((policy) => {
      const { missShare } = simulateTrace(trace!, { policy, slots, strideBytes: 1 });
      return { policy, slots, missShare };
    }),
  );
  say({ kind: "simulated", rows, unit, dFf, tokens: tokens.length });
}
