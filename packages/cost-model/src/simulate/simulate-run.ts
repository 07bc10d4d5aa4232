/**
 * A run of tokens on a device that need not be there: the closed form's figures (token-cost.ts) as a discrete-event simulation, with what
 * means cannot say: rounds of reads that do not come out even, queues that run dry, guesses, tokens that name more than others, and
 * devices whose times scatter.
 *
 * Without jitter, overlap and fluctuation it agrees with the closed form within half a round of reads a batch.
 */
import { InputError, Random, UnsupportedError } from "@flashwick/core";
import type { TokenRequest } from "../pass-request.js";
import { ArithmeticTime } from "./arithmetic-time.js";
import { type Distribution, distributionOf } from "./distribution.js";
import type { Jitter } from "./jitter.js";
import type { NeuronUse } from "./neuron-use.js";
import { Pipeline, type QueuePoint, type SimulatedToken } from "./pipeline.js";
import { type Lookahead, PHASES, type Phase, TokenSteps } from "./token-steps.js";

/** What {@link simulateRun} simulates. */
export interface SimulationRequest
  extends Pick<TokenRequest, "shape" | "profile" | "settings" | "slotsByLayer" | "kvPrecision" | "position"> {
  /** By token and layer: a recorded trace, or {@link sampleUse}. */
  readonly use: readonly (readonly NeuronUse[])[];
  /** As in SparsityStatistics: how missing neurons without `runs` lie. */
  readonly clumping: number | null;
  /** Of use in predicted mode with readers, in blocks where the FFN follows attention; elsewhere it is not done. Default: none. */
  readonly lookahead?: Lookahead | null;
  /** Default: none. */
  readonly jitter?: Jitter | null;
  /** Of the jitter. Default 0. */
  readonly seed?: number;
  /** Of so many tokens, the first ones, the queue is recorded. Default 0: it has two points for each read. */
  readonly timelineTokens?: number;
}

/** What a simulated run took, token by token. */
export interface SimulatedRun {
  readonly tokens: readonly SimulatedToken[];
  readonly totalMs: Distribution;
  readonly readBusyMs: Distribution;
  readonly computeBusyMs: Distribution;
  /** Of the mean token, milliseconds. */
  readonly phasesMs: Readonly<Record<Phase, number>>;
  /** Share of the time with so many reads in flight, `[depth + 1]`. */
  readonly inFlightShare: readonly number[];
  readonly timeline: readonly QueuePoint[];
  readonly tokensPerSec: number;
}

/**
 * Simulates a run.
 *
 * @throws {InputError} `INPUT_INVALID` naming the token, layer and field.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a mixture of experts, whose steps are not simulated.
 * Cost: some microseconds a token and layer; a round of equal reads is one event, with jitter each read is one: a quarter of a microsecond.
 */
export function simulateRun(request: SimulationRequest): SimulatedRun {
  checkRequest(request);
  const { profile, settings, use, jitter = null, lookahead = null, seed = 0, timelineTokens = 0 } = request;
  const steps = new TokenSteps({ ...request, lookahead }, new ArithmeticTime(request));
  const pipeline = new Pipeline(profile.flash, Math.max(1, settings.readers), jitter, new Random(seed));
  const timeline: QueuePoint[] = [];
  const watch = (point: QueuePoint) => void timeline.push(point);
  const tokens = use.map((layers, t) =>
    pipeline.run(steps.plan(layers, request.position + t), t < timelineTokens ? watch : null),
  );
  return { ...summary(tokens), inFlightShare: shares(pipeline.inFlightMs), timeline };
}

function summary(tokens: readonly SimulatedToken[]): Omit<SimulatedRun, "inFlightShare" | "timeline"> {
  const totalMs = distributionOf(tokens.map((token) => token.totalMs));
  const mean = (phase: Phase) => tokens.reduce((sum, { phases }) => sum + phases[phase], 0) / tokens.length;
  return {
    tokens,
    totalMs,
    readBusyMs: distributionOf(tokens.map((token) => token.readBusyMs)),
    computeBusyMs: distributionOf(tokens.map((token) => token.computeBusyMs)),
    phasesMs: Object.fromEntries(PHASES.map((phase) => [phase, mean(phase)])) as Record<Phase, number>,
    tokensPerSec: 1000 / totalMs.mean,
  };
}

function shares(ms: Float64Array): number[] {
  const all = ms.reduce((sum, value) => sum + value, 0);
  return Array.from(ms, (value) => value / all);
}

function checkRequest({ shape, use, slotsByLayer, lookahead }: SimulationRequest): void {
  if (shape.mixture) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${shape.name}: steps of a mixture of experts are not simulated; tokenCost and planRun price it in closed form`,
    );
  }
  if (use.length === 0) throw invalid("use", "at least one token", 0);
  if (slotsByLayer.length !== shape.nLayers)
    throw invalid("slotsByLayer", `${shape.nLayers} layers`, slotsByLayer.length);
  if (lookahead && !(lookahead.foundShare >= 0 && lookahead.foundShare <= 1)) {
    throw invalid("lookahead.foundShare", "0 to 1", lookahead.foundShare);
  }
  if (lookahead && !(lookahead.wrongShare >= 0))
    throw invalid("lookahead.wrongShare", "0 or more", lookahead.wrongShare);
  for (const [token, layers] of use.entries()) {
    if (layers.length !== shape.nLayers) throw invalid(`use[${token}]`, `${shape.nLayers} layers`, layers.length);
    for (const [layer, of] of layers.entries()) checkUse(`use[${token}][${layer}]`, of, shape.dFf);
  }
}

function checkUse(where: string, { named, missing, runs }: NeuronUse, dFf: number): void {
  if (!(Number.isInteger(named) && named >= 1 && named <= dFf)) {
    throw invalid(`${where}.named`, `a whole number of 1 to ${dFf} neurons`, named);
  }
  if (!(Number.isInteger(missing) && missing >= 0 && missing <= named)) {
    throw invalid(`${where}.missing`, `a whole number of at most ${named} neurons, those named`, missing);
  }
  if (runs === undefined) return;
  const neurons = runs.reduce((sum, run) => sum + (Number.isInteger(run) && run >= 1 ? run : Number.NaN), 0);
  if (!(neurons >= missing && neurons <= dFf)) {
    throw invalid(`${where}.runs`, `whole runs of ${missing} to ${dFf} neurons in all`, JSON.stringify(runs));
  }
}

function invalid(field: string, expected: string, found: unknown): InputError {
  const message = `simulation: ${field} is ${found}, expected ${expected}; mend the trace or the settings`;
  return new InputError("INPUT_INVALID", message, { details: { field } });
}
