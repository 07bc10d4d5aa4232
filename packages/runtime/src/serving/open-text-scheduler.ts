/** Opening a scheduler: it takes the model's turn, and the engine with all its sequences. */
import { InputError } from "@flashwick/core";
import type { KvPrecision } from "@flashwick/cost-model";
import { sha256Hex } from "@flashwick/flash-format";
import { checkTokens } from "../check-tokens.js";
import { cacheDependence, type EngineConfig } from "../engine-config.js";
import type { EngineHolder, LoadOptions } from "../engine-holder.js";
import type { RequestQueue } from "../request-queue.js";
import { Sequence } from "../sequence.js";
import type { TextModel } from "../text-model.js";
import { checkMaxTokens, checkRoom, selectorOf, textStreamOf } from "../text-request.js";
import type { SchedulerOptions, ServedRequest } from "./served-request.js";
import { ServedText } from "./served-text.js";
import { StoredPrefixes } from "./stored-prefixes.js";
import { TextScheduler } from "./text-scheduler.js";

const DEFAULT_MAX_QUEUE = 16;

/** @throws As `Model.openScheduler`. */
export async function openTextScheduler(
  model: TextModel,
  engines: EngineHolder,
  queue: RequestQueue,
  closing: AbortSignal,
  { maxQueue = DEFAULT_MAX_QUEUE, prefixStore, ...options }: SchedulerOptions & LoadOptions,
): Promise<TextScheduler> {
  checkMaxQueue(maxQueue);
  checkIndependence(model.config);
  const contextTokens = model.contextTokens ?? model.header.geometry.contextLength;
  const turn = await queue.enter(options.signal);
  try {
    const engine = await engines.withDevice(() => engines.engineForAll(contextTokens, options));
    const sequences = engine.parts.plan.sequences - engine.openSequences;
    // Throws the error that says so: callers hold every sequence.
    if (sequences === 0) new Sequence(engine);
    turn.occupy(modelIsServed);
    const textOf = (request: ServedRequest, onResume: () => void) =>
      servedText(model, contextTokens, request, onResume);
    const { kvPrecision } = engine.parts.plan;
    const stored = prefixStore ? new StoredPrefixes(prefixStore, () => prefixIdentity(model, kvPrecision)) : null;
    return new TextScheduler({ engines, turn, contextTokens, sequences, maxQueue, stored, closing, textOf });
  } catch (error) {
    engines.dropAfter(error);
    turn.end();
    throw error;
  }
}

/** @throws {InputError} for a request that makes no sense. */
function servedText(model: TextModel, contextTokens: number, request: ServedRequest, onResume: () => void): ServedText {
  const { prompt, maxTokens, stop, ignoreEos = false } = request;
  const { geometry } = model.header;
  checkMaxTokens(maxTokens);
  checkTokens(prompt, geometry);
  checkRoom(prompt.length, contextTokens);
  const eosTokenId = ignoreEos ? null : geometry.eosTokenId;
  const selector = selectorOf(request, geometry, eosTokenId);
  const stream = textStreamOf(model, stop);
  const { clock } = model.parts;
  return new ServedText({ prompt, maxTokens, contextTokens, eosTokenId, selector, stream, clock, onResume });
}

/** Changes with whatever changes how a page's bytes are computed or arranged. */
const PAGE_VERSION = 1;

/** What keys and values of a prompt depend on beside its tokens: weights as the file has them, arithmetic, precision. */
function prefixIdentity({ header, parts, config }: TextModel, kvPrecision: KvPrecision): string {
  const tensors = [...header.tensors.values()].map(({ name, dtype, crc32c }) => [name, dtype, crc32c]);
  const { calibration } = header;
  const weights = [
    header.fingerprint,
    header.fileBytes,
    header.weights,
    tensors,
    ...(calibration ? [calibration] : []),
  ];
  const { backend, activationBits = null } = parts;
  return sha256Hex(
    JSON.stringify([PAGE_VERSION, weights, backend, activationBits, config.expertsPerToken, kvPrecision]),
  );
}

function modelIsServed(): InputError {
  return new InputError(
    "INPUT_BUSY",
    "the model is held by a scheduler; give the request to the scheduler, or close that first",
  );
}

function checkMaxQueue(maxQueue: number): void {
  if (Number.isInteger(maxQueue) && maxQueue >= 0) return;
  throw new InputError("INPUT_INVALID", `maxQueue is ${maxQueue}, expected an integer of at least 0`);
}

function checkIndependence(config: EngineConfig): void {
  const dependence = cacheDependence(config);
  if (dependence === null) return;
  throw new InputError(
    "INPUT_INVALID",
    `with ${dependence} a token's output depends on what the cache holds, so texts cannot be computed together; leave it out`,
  );
}
