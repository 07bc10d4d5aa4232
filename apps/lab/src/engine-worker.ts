/** The engine of the page: store, model and runs, in a worker of their own, so that nothing they do holds the page up. */

import { type ByteSource, eventLoopTurn, ffnBytes, isFlashwickError, neuronGrid } from "@flashwick/core";
import { devicePreset } from "@flashwick/cost-model";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import {
  memorySink,
  openModelFile,
  readFileKind,
  verifyModelFile,
  verifyPredictorFile,
  writePredictorFile,
} from "@flashwick/flash-format";
import { canShareMemory, ModelStore } from "@flashwick/flash-io/opfs";
import {
  type GeneratedToken,
  type GenerateOptions,
  type Model,
  STUDY_POLICIES,
  simulateTrace,
} from "@flashwick/runtime";
import { openStoredModel, trainHere } from "@flashwick/runtime/browser";
import type {
  Answer,
  Drafts,
  EngineSettings,
  GenerateRequest,
  NumberedAnswer,
  NumberedRequest,
  Prediction,
  Proof,
  Request,
  RunFacts,
  StepEvent,
} from "./messages.js";
import { prove } from "./proof.js";
import { StepWatch } from "./step-watch.js";

const BUNDLED = "opt-demo.gguf";
const BUNDLED_PREDICTOR = "opt-demo.predictor.gguf";

/** A request under way: what it says goes to the page under its number, and a stop is for it alone. */
interface Task {
  readonly say: (answer: Answer, transfer?: Transferable[]) => void;
  readonly signal: AbortSignal;
}

let store: ModelStore;
const underWay = new Map<number, AbortController>();
/** Named sets of the last run, for the simulator. */
let trace: NeuronTrace | null = null;

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
    else if (stop.signal.aborted) say({ kind: "done", what: "stopped", tokensPerSec: 0, replayable: replayable() });
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
  const { say, signal } = task;
  switch (request.kind) {
    case "start":
      store = await ModelStore.open();
      if (!(await store.has(BUNDLED))) await importBundled(task);
      return await tellState(task);
    case "importFile":
      await store.importFile(request.file, { verify, onProgress: progress(task, request.file.name), signal });
      return await tellState(task);
    case "importUrl":
      await store.importUrl(request.url, { verify, onProgress: progress(task, request.url), signal });
      return await tellState(task);
    case "delete":
      await store.delete(request.name);
      return await tellState(task);
    case "generate":
      return await generate(request, task);
    case "train":
      return await train(request.model, request.tokens, task);
    case "predict":
      return say({ kind: "prediction", prediction: await predict(request, task) });
    case "prove":
      return say({ kind: "proof", proof: await proveHere(request, task) });
    case "simulate":
      return simulate(request.slotShares, task);
    case "stop":
  }
}

/** The demo model of the site, so that there is something to see at once. */
async function importBundled(task: Task): Promise<void> {
  for (const name of [BUNDLED_PREDICTOR, BUNDLED]) {
    if (await store.has(name)) continue;
    const url = new URL(`../models/${name}`, self.location.href).href;
    await store.importUrl(url, { name, verify, onProgress: progress(task, name), signal: task.signal });
  }
}

async function verify(source: ByteSource): Promise<void> {
  const file = (await readFileKind(source)) === "model" ? await openModelFile(source) : null;
  // A GGUF of llama.cpp carries no checksums: its header was checked as it was opened.
  if (file?.header.weights.layout === "matrices") return;
  const { ok, bad } = file ? await verifyModelFile(file) : await verifyPredictorFile(source);
  if (!ok) throw new Error(`${source.name} is damaged (${bad[0]!.kind} at byte ${bad[0]!.offset}); fetch it again`);
}

function progress({ say }: Task, what: string) {
  return ({ loaded, total, detail = "" }: { loaded: number; total: number; detail?: string }) =>
    say({ kind: "progress", what, loaded, total, detail });
}

async function tellState({ say }: Task): Promise<void> {
  const { usageBytes, quotaBytes } = await store.estimate();
  say({ kind: "state", models: await store.list(), isolated: canShareMemory(), usageBytes, quotaBytes });
}

/** A predictor of one's own, from the site's text, stored beside the model under a name of its own. */
async function train(name: string, tokens: number, task: Task): Promise<void> {
  const { say, signal } = task;
  const text = await (await fetch(new URL("../models/text.txt", self.location.href), { signal })).text();
  const model = await openStoredModel(store, name, { mode: "dense", predictor: null });
  try {
    const nLayers = model.header.geometry.layers.length;
    const predictor = await trainHere(model, {
      ...{ text, tokens, signal },
      onProgress: ({ phase, loaded, total }) => say({ kind: "progress", what: phase, loaded, total, detail: "steps" }),
      onEpoch: (layer, report) => say({ kind: "epoch", layer, nLayers, ...report }),
    });
    const sink = memorySink();
    await writePredictorFile(sink, predictor);
    const own = name.replace(/(\.gguf)?$/, ".own.predictor.gguf");
    await store.importFile(new File([Uint8Array.from(sink.committed!)], own), { replace: true, verify });
    const mean = (pick: (layer: (typeof predictor.layers)[number]) => number) =>
      predictor.layers.reduce((sum, layer) => sum + pick(layer), 0) / nLayers;
    await tellState(task);
    say({
      kind: "trained",
      name: own,
      recall: mean(({ recall }) => recall),
      missedMass: mean((layer) => layer.missedMass),
    });
  } finally {
    await model.close();
  }
}

/** Without a weight being read: the plan, and what its tokens would take on a Chromium's private file system. */
async function predict(request: GenerateRequest, task: Task): Promise<Prediction> {
  // Nothing is computed: no thread is started for it.
  const model = await open(request.model, { ...request, readers: 0, backend: "wasm", threads: 1 }, task);
  try {
    const promptTokens = model.tokenizer.encode(request.prompt, true).length;
    const { contextLength } = model.header.geometry;
    const decodeTokens = Math.min(request.maxTokens, contextLength - promptTokens);
    const plan = model.plan(promptTokens + decodeTokens);
    const expected = model.predict(plan, { promptTokens, decodeTokens });
    if (request.backend === "webgpu") {
      return { fits: true, nothing: "nothing is known of this graphics processor's speed" };
    }
    if (expected === null) {
      return { fits: true, nothing: "nothing is known of what this model's predictor names" };
    }
    const { tokenMs, flashBytesPerToken, device } = expected;
    return { fits: true, nothing: null, tokensPerSec: 1000 / tokenMs, flashBytesPerToken, device };
  } catch (error) {
    if (!isFlashwickError(error) || error.code !== "BUDGET_TOO_SMALL") throw error;
    return { fits: false, why: error.message };
  } finally {
    await model.close();
  }
}

async function open(name: string, settings: EngineSettings, { say }: Task): Promise<Model> {
  const source = await store.openSource(name);
  const fileBytes = source.sizeBytes;
  await source.close();
  return await openStoredModel(store, name, {
    dramBudgetBytes: Math.floor(settings.budgetShare * fileBytes),
    policy: settings.policy,
    threads: settings.threads ?? "auto",
    profile: devicePreset("opfs-chromium"),
    backend: settings.backend,
    onDeviceLost: ({ message }) => {
      say({ kind: "note", message: `${message}: this run goes on with WebAssembly.` });
      return "continue";
    },
    ...(settings.windowTokens === null ? {} : { windowTokens: settings.windowTokens }),
    ...(settings.threshold === null ? {} : { threshold: settings.threshold }),
    ...(settings.predictor === null ? {} : { predictor: settings.predictor }),
    reader: settings.readers === null ? {} : { readers: settings.readers },
  });
}

function factsOf(model: Model, contextTokens: number, drafts: Drafts): RunFacts {
  const { geometry, weights, fileBytes } = model.header;
  const { dram, slotsByLayer } = model.plan(contextTokens);
  const { readers, fallback } = model.parts.reader;
  const { nLayers, dFf } = neuronGrid(geometry);
  const naiveBytesPerToken = ffnBytes(geometry, weights);
  const { backend, threads = 1 } = model.parts;
  return {
    nLayers,
    dFf,
    fileBytes,
    naiveBytesPerToken,
    mode: model.mode,
    drafts,
    backend,
    threads,
    readers,
    fallback,
    dram,
    slotsByLayer,
  };
}

async function generate(request: GenerateRequest, task: Task): Promise<void> {
  const { say, signal } = task;
  const model = await open(request.model, request, task);
  try {
    const prompt = model.tokenizer.encode(request.prompt, true);
    const context = Math.min(model.header.geometry.contextLength, prompt.length + request.maxTokens);
    const facts = factsOf(model, context, request.drafts);
    say({ kind: "run", facts });
    const watch = new StepWatch(facts);
    const sets: Uint32Array[][] = [];
    let [spent, computed] = [0, 0];
    for await (const item of model.generate(prompt, {
      maxTokens: request.maxTokens,
      ignoreEos: true,
      ...draftOptions(request.drafts),
      observer: watch.verifying,
      draftObserver: watch.drafting,
      signal,
    })) {
      const { text, step } = item;
      if (text !== "") say({ kind: "text", text, isDraft: (step?.row ?? 0) > 0 });
      if (step === null) continue;
      computed++;
      if (step.row === 0) {
        spent += step.stats.ms;
        const { sets: seen, ...event } = stepEvent(model, item, watch);
        sets.push(...seen);
        say({ kind: "step", event }, [event.states.buffer]);
      }
      // A turn of the event loop, in which a stop is heard.
      await eventLoopTurn();
    }
    trace = { nLayers: facts.nLayers, dFf: facts.dFf, tokens: sets };
    say({ kind: "done", what: "generated", tokensPerSec: (1000 * computed) / spent, replayable: replayable() });
  } finally {
    await model.close();
  }
}

function draftOptions(drafts: Drafts): Pick<GenerateOptions, "lossless" | "speculate"> {
  return drafts === "lossless" ? { lossless: true } : { speculate: drafts };
}

/** The step that began with `item`, as it was seen; `sets` are those of the tokens that it brought. */
function stepEvent(model: Model, { token, step }: GeneratedToken, watch: StepWatch) {
  const { drafts, accepted, stats } = step!;
  const { ms, phaseMs, flashBytes, flashReads, cacheHits: hits, cacheMisses: misses } = stats;
  const { states, sets, ...seen } = watch.take();
  const textOf = (id: number) => model.tokenizer.decode([id]);
  return {
    text: textOf(token!),
    drafts: drafts.map(textOf),
    accepted,
    ...{ ms, phaseMs: { ...phaseMs }, flashBytes, flashReads, hits, misses },
    ...seen,
    states,
    sets: sets.slice(0, 1 + accepted),
  } satisfies StepEvent & { readonly sets: unknown };
}

/** The settings' sparse run beside the dense model with all memory it wants. */
async function proveHere(request: GenerateRequest, task: Task): Promise<Proof> {
  const { say, signal } = task;
  const models = {
    sparse: () => open(request.model, request, task),
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
  const { dFf, tokens } = trace;
  const rows = slotShares.flatMap((share) =>
    STUDY_POLICIES.map((policy) => {
      const slots = Math.max(1, Math.round(share * dFf));
      const { missShare } = simulateTrace(trace!, { policy, slots, strideBytes: 1 });
      return { policy, slots, missShare };
    }),
  );
  say({ kind: "simulated", rows, dFf, tokens: tokens.length });
}
