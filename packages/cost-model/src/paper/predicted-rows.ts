/**
 * The paper's tables, predicted: from published geometry, sparsity and device figures, by the functions that price our own runs.
 *
 * No time of a row that counts (`bounded`) is an input. Rows on GPUs stand beside: their compute rate is that of their naive row.
 * Readings, where the paper leaves several (docs/results/paper-tables.md): k counts the current token; naive and hybrid read 16 bit whatever they
 * compute in; an untied input embedding is not read, but for its one row.
 */
import type { RecordDType, SparsityStatistics } from "@flashwick/core";
import { devicePreset } from "../device-presets.js";
import type { DeviceProfile } from "../device-profile.js";
import { planMemory } from "../memory-plan.js";
import { type ModelPreset, modelPreset } from "../model-presets.js";
import { denseBytes, type ModelShape } from "../model-shape.js";
import type { EngineMethod, EngineSettings } from "../pass-request.js";
import { denseSparsity, powerLawLayer, windowExponent } from "../sparsity.js";
import { type TokenCost, tokenCost } from "../token-cost.js";
import { tokenLimits } from "../token-limits.js";
import { type PaperBackend, type PaperPhases, PRINTED_ROWS, type PrintedRow } from "./printed-rows.js";

/** A row of the paper's tables with the prediction beside it. */
export interface PaperRow extends PrintedRow {
  readonly predicted: PaperPhases;
  /** Held to 15 % of the printed total (table 2: I/O) by the tests. */
  readonly bounded: boolean;
}

/** Tables 2 and 3, predicted beside printed, in the paper's order. */
export function predictPaperTables(): PaperRow[] {
  return PRINTED_ROWS.map((row) => ({ ...row, predicted: predict(row), bounded: row.backend === "cpu" }));
}

const DEVICES: Readonly<Record<PaperBackend, { readonly preset: string; readonly dtype: RecordDType }>> = {
  cpu: { preset: "paper-m1-max", dtype: "f32" },
  "metal-m1": { preset: "paper-m1-max-metal", dtype: "f16" },
  "metal-m2": { preset: "paper-m2-ultra", dtype: "f16" },
  "rtx-4090": { preset: "paper-rtx-4090", dtype: "f16" },
};

/** 3.3: "inference over all rows in use"; a bundle is a read. */
const METHOD: EngineMethod = { computesHeld: true, joinsNeighbours: false };
/** 128 tokens of prompt and half of 256 new ones: the mean position of a run. */
const POSITION = 256;
const CONTEXT_TOKENS = 384;
/** The current token and four before it. */
const WINDOW_TOKENS = 5;
/** Reads by 32 threads. */
const READERS = 32;

/** What a run may keep: `ffnShare` of the FFN, `modelShare` of the whole model; neither: as much as its window needs. */
const MEMORY: Readonly<Record<string, { readonly ffnShare?: number; readonly modelShare?: number }>> = {
  "persimmon-8b": { ffnShare: 0.25 },
  "phi-2": { modelShare: 0.65 },
  "llama-2-7b": { modelShare: 0.55 },
};
/** The share of a model that stays on flash in the hybrid rows: what the memory allowed does not hold. */
const HYBRID_FLASH_SHARE: Readonly<Record<string, number>> = { "phi-2": 0.35, "llama-2-7b": 0.45 };

function predict(row: PrintedRow): PaperPhases {
  const { preset: device, dtype } = DEVICES[row.backend];
  const profile = devicePreset(device);
  const half = modelPreset(row.model, "f16");
  const model = modelPreset(row.model, dtype);
  if (row.method === "naive" || row.method === "hybrid") {
    const flashShare = row.method === "naive" ? 1 : (HYBRID_FLASH_SHARE[row.model] ?? 0.5);
    return onlyPrinted(row, streamedPhases(model, flashShare * denseBytes(half.shape), profile));
  }
  if (row.table === 2) return onlyPrinted(row, phasesOf(ablationCost(row, half, profile)));
  if (row.method === "speculative") return speculativePhases(model, profile);
  return phasesOf(paperCost({ ...model, profile, slotsByLayer: slotsOf(model) }));
}

/** Table 2 prints I/O alone. */
function onlyPrinted({ printed }: PrintedRow, phases: PaperPhases): PaperPhases {
  return printed.totalMs === null ? { ...phases, memoryMs: null, computeMs: null, totalMs: null } : phases;
}

/** Naive and hybrid are the paper's theoretical best: so much of the model in sequence, and a dense pass. */
function streamedPhases({ shape }: ModelPreset, flashBytes: number, profile: DeviceProfile): PaperPhases {
  const { dramBytesPerSec, flash } = profile;
  const { sequentialBytesPerSec } = flash;
  const { flashMs } = tokenLimits({
    dramBytes: 0,
    dramBytesPerSec,
    flashBytes,
    flashBytesPerSec: sequentialBytesPerSec,
  });
  const dense = paperCost({ shape, profile, sparsity: denseSparsity(shape.nLayers), mode: "dense" });
  return withTotal(flashMs, 0, computeMs(dense));
}

/** 16 bit, half the memory: single rows, then a window, then both rows of a neuron in one read. */
function ablationCost({ method }: PrintedRow, { shape, sparsity }: ModelPreset, profile: DeviceProfile): TokenCost {
  const split = { ...shape, strideBytes: shape.recordBytes / 2, readsPerNeuron: 2 };
  const windowTokens = method === "predictor" ? 0 : WINDOW_TOKENS;
  return paperCost({ shape: method === "bundling" ? shape : split, profile, sparsity, windowTokens });
}

/** Slots by layer within what the paper allows a model. */
function slotsOf({ shape, memoryRequest }: ModelPreset): readonly number[] {
  const { ffnShare = 1, modelShare } = MEMORY[shape.name] ?? {};
  if (modelShare === undefined) return new Array(shape.nLayers).fill(Math.floor(ffnShare * shape.dFf));
  const budgetBytes = modelShare * (denseBytes(shape) + shape.rowTableBytes);
  const request = memoryRequest("predicted", { budgetBytes, contextTokens: CONTEXT_TOKENS, kvPrecision: "f32" });
  // Embeddings always stay (3.1); prompts are not studied, so that no room is left for wide batches.
  const residentBytes = request.residentBytes + request.rowTableBytes;
  return planMemory({ ...request, residentBytes, rowTableBytes: 0, activationBytes: () => 0 }).slotsByLayer;
}

/** Tokens that a verification accepts, on average: the 1.58 times that plain speculation gains (5.2), as if drafts took no time. */
const ACCEPTED_TOKENS = 1.58;
/** Four drafted tokens and the one before them. */
const PASS_TOKENS = 5;

/** A pass names what any of its tokens does, s_pass(k) = s_agg(5k), and the window keeps the pass before. */
function speculativePhases({ shape, sparsity, published }: ModelPreset, profile: DeviceProfile): PaperPhases {
  const { activeShare, namedPerActive, window } = published;
  const named = activeShare * namedPerActive;
  const exponent = windowExponent(named, window!.tokens, window!.heldShare);
  const layers = sparsity.layers.map(() => powerLawLayer(named * PASS_TOKENS ** exponent, exponent));
  const pass = paperCost({ shape, profile, sparsity: { ...sparsity, layers }, windowTokens: 1 });
  const each = (ms: number) => ms / ACCEPTED_TOKENS;
  return withTotal(each(pass.readMs), each(pass.cacheMs), each(computeMs(pass)));
}

interface PaperRun {
  readonly shape: ModelShape;
  readonly profile: DeviceProfile;
  readonly sparsity: SparsityStatistics;
  readonly mode?: EngineSettings["mode"];
  readonly windowTokens?: number;
  /** Default: no limit but the window. */
  readonly slotsByLayer?: readonly number[];
}

function paperCost(run: PaperRun): TokenCost {
  const { shape, profile, sparsity, mode = "predicted", windowTokens = WINDOW_TOKENS } = run;
  return tokenCost({
    shape,
    profile,
    sparsity,
    settings: { mode, windowTokens, threads: profile.cores, readers: READERS, mergeGapBytes: 0, overlap: false },
    slotsByLayer: run.slotsByLayer ?? new Array(shape.nLayers).fill(shape.dFf),
    kvPrecision: shape.dtype === "f32" ? "f32" : "f16",
    position: POSITION,
    seenTokens: POSITION,
    method: METHOD,
  });
}

function computeMs({ attentionMs, ffnMs, headMs, predictMs }: TokenCost): number {
  return attentionMs + ffnMs + headMs + predictMs;
}

function phasesOf(cost: TokenCost): PaperPhases {
  return withTotal(cost.readMs, cost.cacheMs, computeMs(cost));
}

function withTotal(ioMs: number, memoryMs: number, compute: number): PaperPhases {
  return { ioMs, memoryMs, computeMs: compute, totalMs: ioMs + memoryMs + compute };
}
