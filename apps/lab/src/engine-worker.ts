/** The engine of the page: store, model and runs, in a worker of their own, so that nothing they do holds the page up. */

import { type ByteSource, eventLoopTurn, ffnBytes, isFlashwickError } from "@flashwick/core";
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
  type Engine,
  type ForwardObserver,
  type Model,
  STUDY_POLICIES,
  simulateTrace,
  type TokenSpan,
} from "@flashwick/runtime";
import { openStoredModel, trainHere } from "@flashwick/runtime/browser";
import {
  type Answer,
  type EngineSettings,
  type GenerateRequest,
  type NumberedAnswer,
  type NumberedRequest,
  type Prediction,
  type Proof,
  type Request,
  type RunFacts,
  STATE,
} from "./messages.js";

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
    else if (stop.signal.aborted) say({ kind: "done", what: "stopped", tokensPerSec: 0 });
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
      return say({ kind: "proof", proof: await prove(request, task) });
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
  const isModel = (await readFileKind(source)) === "model";
  const { ok, bad } = isModel ? await verifyModelFile(await openModelFile(source)) : await verifyPredictorFile(source);
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
    const { nLayers } = model.header.geometry;
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

function factsOf(model: Model, contextTokens: number): RunFacts {
  const { geometry, weights, fileBytes } = model.header;
  const { dram, slotsByLayer } = model.plan(contextTokens);
  const { readers, fallback } = model.parts.reader;
  const { nLayers, dFf } = geometry;
  const naiveBytesPerToken = ffnBytes(geometry, weights);
  const { backend, threads = 1 } = model.parts;
  return {
    nLayers,
    dFf,
    fileBytes,
    naiveBytesPerToken,
    mode: model.mode,
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
    const facts = factsOf(model, context);
    say({ kind: "run", facts });
    const watch = new TokenWatch(facts);
    const sets: Uint32Array[][] = [];
    let spent = 0;
    const { maxTokens } = request;
    for await (const { text, stats } of model.generate(prompt, {
      maxTokens,
      ignoreEos: true,
      observer: watch,
      signal,
    })) {
      if (text !== "") say({ kind: "text", text });
      if (stats === null) continue;
      spent += stats.ms;
      sets.push(watch.sets);
      const { states, spans } = watch;
      const { ms, phaseMs, flashBytes, flashReads, cacheHits: hits, cacheMisses: misses } = stats;
      say(
        { kind: "token", event: { ms, phaseMs: { ...phaseMs }, spans, flashBytes, flashReads, hits, misses, states } },
        [states.buffer],
      );
      // A turn of the event loop, in which a stop is heard.
      await eventLoopTurn();
    }
    trace = { nLayers: facts.nLayers, dFf: facts.dFf, tokens: sets };
    say({ kind: "done", what: "generated", tokensPerSec: (1000 * sets.length) / spent });
  } finally {
    await model.close();
  }
}

/** What each neuron was for the last token, and when what was done. */
class TokenWatch implements ForwardObserver {
  states = new Uint8Array(0);
  sets: Uint32Array[] = [];
  spans: TokenSpan[] = [];
  readonly #facts: RunFacts;

  constructor(facts: RunFacts) {
    this.#facts = facts;
  }

  named(layer: number, named: Uint32Array, engine: Engine): void {
    const { nLayers, dFf } = this.#facts;
    if (layer === 0) {
      this.states = new Uint8Array(nLayers * dFf);
      this.sets = [];
    }
    const first = layer * dFf;
    for (const neuron of engine.residentNeurons(layer)) this.states[first + neuron] = STATE.resident;
    for (const neuron of named) {
      this.states[first + neuron] = this.states[first + neuron] === STATE.resident ? STATE.awake : STATE.fetched;
    }
    this.sets[layer] = named.slice();
  }

  span(span: TokenSpan): void {
    if (span.beginMs === 0 && span.what !== "reads") this.spans = [];
    this.spans.push(span);
  }
}

/** The same prompt dense and sparse: greedy by the sparse run, the dense one shown the same tokens. */
async function prove(request: GenerateRequest, task: Task): Promise<Proof> {
  const sparse = await decodeGreedily(await open(request.model, request, task), request, null, task);
  const densely = await openStoredModel(store, request.model, {
    mode: "dense",
    predictor: null,
    backend: request.backend,
    threads: request.threads ?? "auto",
  });
  const dense = await decodeGreedily(densely, request, sparse.tokens, task);
  let [agree, kl] = [0, 0];
  for (const [i, p] of dense.logits.entries()) {
    const q = sparse.logits[i]!;
    if (argmax(p) === argmax(q)) agree++;
    kl += divergence(p, q);
  }
  const count = dense.logits.length;
  return {
    tokens: count,
    agreement: agree / count,
    meanKl: kl / count,
    sparseBytes: sparse.flashBytes / count,
    denseBytes: dense.naiveBytesPerToken,
    sparseText: sparse.text,
    denseText: dense.text,
  };
}

/** @param forced Tokens that are shown to the model; null: its own likeliest ones. `text` is of its own choices. */
async function decodeGreedily(
  model: Model,
  { prompt, maxTokens }: GenerateRequest,
  forced: readonly number[] | null,
  { say, signal }: Task,
) {
  try {
    const ids = model.tokenizer.encode(prompt, true);
    const count = Math.min(maxTokens, model.header.geometry.contextLength - ids.length);
    return await model.withSequence(ids.length + count, async (sequence) => {
      const first = await sequence.prefill(ids, signal);
      const logits = [first.logits];
      const tokens: number[] = [];
      const own: number[] = [];
      let flashBytes = 0;
      for (let i = 0; i < count; i++) {
        const likeliest = argmax(logits.at(-1)!);
        own.push(likeliest);
        tokens.push(forced?.[i] ?? likeliest);
        const step = await sequence.decode(tokens[i]!, signal);
        logits.push(step.logits.slice());
        flashBytes += step.stats.flashBytes;
        say({ kind: "progress", what: forced ? "dense" : "sparse", loaded: i + 1, total: count, detail: "tokens" });
        signal.throwIfAborted();
      }
      const { geometry, weights } = model.header;
      const text = model.tokenizer.decode(own);
      return { tokens, text, logits, flashBytes, naiveBytesPerToken: ffnBytes(geometry, weights) };
    });
  } finally {
    await model.close();
  }
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** KL(p ‖ q) of two distributions given by logits, nats. */
function divergence(p: Float32Array, q: Float32Array): number {
  const [zp, zq] = [logSumExp(p), logSumExp(q)];
  let sum = 0;
  for (let i = 0; i < p.length; i++) sum += Math.exp(p[i]! - zp) * (p[i]! - zp - (q[i]! - zq));
  return sum;
}

function logSumExp(values: Float32Array): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) most = Math.max(most, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - most);
  return most + Math.log(sum);
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
