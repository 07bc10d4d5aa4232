/** The flags that say how a model is run: shared by run, score, eval and demo. */

import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { formatBytes, isSparse, unitsByLayer } from "@flashwick/core";
import { sidecarPath } from "@flashwick/flash-format";
import { CACHE_SCOPES, type Model, type ModelOptions, POLICIES } from "@flashwick/runtime";
import { type BackendName, openModel, RESERVE_BYTES, spareMemoryBytes } from "@flashwick/runtime/node";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ByteSize, resolveByteSize } from "./byte-size.js";
import { cycleNote } from "./cycle-note.js";
import { UsageError } from "./failure.js";
import { byteSize, integer, number, plainBytes, threshold } from "./option-values.js";
import { pruningChoice } from "./pruning-plan.js";
import type { Report } from "./report.js";

const SWITCHES = ["auto", "on", "off"] as const;
type Switch = (typeof SWITCHES)[number];

export interface EngineFlags {
  readonly predictor?: string;
  readonly dense?: boolean;
  readonly oracle?: boolean;
  readonly gateFirst?: boolean;
  readonly pruning?: string;
  readonly pruningGamma?: number;
  readonly dramBudget?: ByteSize;
  readonly context?: number;
  readonly threshold?: number;
  readonly residentMargin?: number;
  readonly routerKeep?: number;
  readonly experts?: number;
  readonly hot?: string;
  readonly window?: number;
  readonly policy?: NonNullable<ModelOptions["policy"]>;
  readonly cacheScope?: NonNullable<ModelOptions["cacheScope"]>;
  readonly kvPrecision?: NonNullable<ModelOptions["kvPrecision"]>;
  readonly readers?: number;
  readonly threads?: number;
  /** Bytes. */
  readonly mergeGap?: number;
  readonly overlap?: Switch;
  readonly lookahead?: Switch;
  readonly io?: "auto" | "buffered";
  readonly backend?: BackendName;
  readonly activationBits?: 8;
  /** Of run and chat: the sparse path drafts. */
  readonly lossless?: boolean;
}

/** What happens without `--predictor`, `--dense`, `--gate-first` and `--oracle`: look for the sidecar, or do not. */
export type DefaultMode = "sidecar" | "dense";

const DEFAULT_MODE_TEXT: Readonly<Record<DefaultMode, string>> = {
  sidecar:
    "default: <model>.predictor.gguf beside the model, unless resident gates or a dense run are expected to be faster",
  dense: "default: none, dense",
};

export function addEngineFlags(command: Command, defaultMode: DefaultMode): Command {
  return command
    .addOption(
      new Option("--predictor <file>", `predictor file (${DEFAULT_MODE_TEXT[defaultMode]})`).conflicts([
        "dense",
        "oracle",
        "gateFirst",
      ]),
    )
    .addOption(
      new Option("--dense", "use every neuron: exact, reads every layer (default: off)").conflicts([
        "oracle",
        "gateFirst",
      ]),
    )
    .addOption(
      new Option(
        "--pruning <plan>",
        "leave out parts of FFNs while decoding, by a file of flashwick calibrate --pruning, or by a share that stays, as in dip:0.75; inexact; " +
          "of a file made with convert --layout columns, only what stays is read (default: off)",
      ).conflicts(["predictor", "dense", "oracle", "gateFirst"]),
    )
    .option(
      "--pruning-gamma <x>",
      "with --pruning, by columns: prefer what is in DRAM, by multiplying the scores of all else by x, up to 1; the output then depends on the cache " +
        "(default: 1)",
      number(0, 1),
    )
    .addOption(
      new Option(
        "--gate-first",
        "use the neurons that the resident gates of a file made with convert --gate-first name: exact (default: off)",
      ).conflicts("oracle"),
    )
    .option("--oracle", "use the truly active neurons, found by looking: exact, slow, for study (default: off)")
    .option(
      "--dram-budget <size>",
      "hard ceiling of DRAM: bytes, KiB, MiB, GiB, or % of the model file (default: what the machine has free, less 512 MiB)",
      byteSize,
    )
    .option(
      "--threshold <x>",
      "a neuron is named when its score, a logit, exceeds x; -inf names all (default: calibrated, by layer)",
      threshold,
    )
    .option(
      "--resident-margin <x>",
      "decoding prefers what is in DRAM: neurons are named from a threshold lower by x, a logit; of a mixture, experts rank higher by x, a share of the " +
        "range of a token's logits; the output then depends on the cache (default: 0)",
      number(0),
    )
    .option(
      "--router-keep <n>",
      "with a margin, of a mixture: the router's first n experts are used wherever they are (default: 1)",
      integer(0),
    )
    .option(
      "--experts <k>",
      "of a mixture: k experts of a layer in place of the more that its router chooses; inexact (default: as many as it chooses)",
      integer(1),
    )
    .option(
      "--hot <file>",
      "of a mixture: a profile of flashwick trace hot, whose experts are read first; off: none (default: <model>.hot.json, if there is one)",
    )
    .option(
      "--context <n>",
      "tokens of keys and values to reserve (default: what the prompt and the tokens to generate need)",
      integer(1),
    )
    .option("--window <n>", "neurons of the last n tokens stay in DRAM (default: as many tokens as fit)", integer(1))
    .addOption(
      new Option(
        "--policy <name>",
        "what stays in the cache of neurons or experts (default: window; of a mixture: lfu)",
      ).choices(POLICIES),
    )
    .addOption(
      new Option(
        "--cache-scope <scope>",
        "a mixture's slots: of each layer, or a pool of all layers (default: layer)",
      ).choices(CACHE_SCOPES),
    )
    .addOption(
      new Option(
        "--kv-precision <type>",
        "precision of keys and values; auto: the best that fits (default: auto)",
      ).choices(["auto", "f32", "f16", "int8"]),
    )
    .option(
      "--readers <n>",
      "flash reader threads, past the page cache; 0: none, through it (default: what suits the device; 0 under 64 MiB)",
      integer(0),
    )
    .option("--threads <n>", "compute threads (default: one a core; 1 under 64 MiB)", integer(1))
    .option(
      "--merge-gap <size>",
      "unneeded bytes between two reads up to which they become one (default: what suits the device)",
      plainBytes,
    )
    .addOption(
      new Option(
        "--overlap <when>",
        "compute while neurons are read (default: auto, where the plan says that it pays)",
      ).choices(SWITCHES),
    )
    .addOption(
      new Option(
        "--lookahead <when>",
        "guess the next layer's neurons and read them early (default: auto, with overlap that nobody planned)",
      ).choices(SWITCHES),
    )
    .addOption(
      new Option("--io <mode>", "auto: past the page cache where possible (default: auto)").choices([
        "auto",
        "buffered",
      ]),
    )
    .addOption(
      new Option("--backend <name>", "who computes; webgpu needs the package webgpu (default: auto, wasm)").choices([
        "auto",
        "wasm",
        "webgpu",
        "reference",
      ]),
    )
    .addOption(
      new Option(
        "--activation-bits <n>",
        "bits of activations beside ggml's blocks; 8: faster, less exact, needs Node 22 (default: 15)",
      )
        .choices(["8"])
        .argParser(activationBits),
    );
}

/** Commander checks choices in its own parser, which this one takes the place of. */
function activationBits(text: string): 8 {
  if (text === "8") return 8;
  throw new InvalidArgumentError("Allowed choices are 8.");
}

/** What the opener of a model adds to the flags. */
export interface BesideFlags {
  /** Of the budget, for something else. */
  readonly setAsideBytes?: number | undefined;
  /** Where the flags name no context. */
  readonly contextTokens?: ModelOptions["contextTokens"];
  /** Default 1. */
  readonly maxSequences?: number;
  /** Ends whatever the model does, and closes it. Default: Ctrl-C. */
  readonly signal?: AbortSignal;
}

/**
 * Opens a model as the flags say, and says so where the run will be dense although nobody asked for it.
 *
 * @throws As `openModel`.
 */
export async function openWithFlags(
  path: string,
  flags: EngineFlags,
  defaultMode: DefaultMode,
  report: Report,
  beside: BesideFlags = {},
): Promise<Model> {
  if (flags.pruningGamma !== undefined && flags.pruning === undefined) {
    throw new UsageError("--pruning-gamma is about --pruning, which is missing");
  }
  const model = await openModel(path, {
    ...predictorChoice(path, flags, defaultMode),
    pruning: flags.pruning === undefined ? undefined : await pruningChoice(path, flags.pruning, flags.pruningGamma),
    ...(await engineOptions(path, flags, beside)),
    hotExperts: flags.hot === "off" ? null : flags.hot,
    backend: flags.backend ?? "auto",
    activationBits: flags.activationBits,
    readers: flags.readers ?? "auto",
    threads: flags.threads ?? "auto",
    io: flags.io ?? "auto",
    onProgress: report.onProgress,
    signal: beside.signal ?? report.terminal.signal,
  });
  if (defaultMode === "sidecar" && !flags.predictor && !flags.dense && model.mode === "dense")
    noteDense(path, model, report);
  if (!flags.dramBudget) noteMachineBudget(model, report);
  noteFit(model, report);
  if (model.parts.activationBits) {
    report.note(`note: activations have ${model.parts.activationBits} bits beside ggml's blocks, 15 by default`);
  }
  noteInexact(model, report);
  const { fallback } = model.parts.reader;
  if (fallback !== null) report.note(`note: reads are buffered, through the page cache: ${fallback}`);
  return model;
}

/** Where nobody gave a budget and the model does not fit into what there is. */
function noteMachineBudget(model: Model, report: Report): void {
  const { dram, slotsByLayer } = model.plan(1);
  const units = unitsByLayer(model.header.geometry);
  if (slotsByLayer.every((slots, layer) => slots >= units[layer]!)) return;
  report.note(
    `note: the DRAM budget is ${formatBytes(dram.budget)}, what this machine has free less ${formatBytes(RESERVE_BYTES)}; the model does not fit, ` +
      "so missing weights are read from flash (--dram-budget sets another budget)",
  );
}

/** A cache that one token's neurons or experts do not fit hardly ever hits: worth knowing, with the number that would do. */
function noteFit(model: Model, report: Report): void {
  const fit = model.cacheFit();
  if (fit === null || fit.fits) return;
  const { units, budgetBytes, neededBudgetBytes } = fit;
  const note = cycleNote({ cycleBudgetBytes: neededBudgetBytes, budgetBytes, units });
  if (note !== null) report.note(note);
}

/** What is left out, and experts other than the routers' own, are somebody's choice, with a price that can be measured. */
function noteInexact(model: Model, report: Report): void {
  const { expertsPerToken, pruning } = model.config;
  const pruned = pruning ? [`parts of FFNs are left out while decoding (${pruning.plan.source})`] : [];
  const fewer = expertsPerToken === null ? [] : [`${expertsPerToken} experts of a layer are used at most`];
  const others = model.prefersResidentExperts ? ["experts in DRAM are preferred while decoding"] : [];
  if (pruned.length + fewer.length + others.length === 0) return;
  report.note(
    `note: this run is not the model's own: ${[...pruned, ...fewer, ...others].join(", and ")}; flashwick eval --against dense, with the same flags, says ` +
      "what that costs, and what it saves",
  );
}

/** What runs, and which predictor. The engine plans what was not asked for, and a plan knows nothing of drafts. */
export function predictorChoice(path: string, flags: EngineFlags, defaultMode: DefaultMode) {
  if (flags.pruning) return { mode: "pruned", predictor: null } as const;
  if (flags.oracle) return { mode: "oracle", predictor: null } as const;
  if (flags.gateFirst) return { mode: "gate-first", predictor: null } as const;
  if (flags.predictor) return { mode: "predicted", predictor: flags.predictor } as const;
  if (flags.dense || defaultMode === "dense") return { mode: "dense", predictor: null } as const;
  if (flags.lossless && existsSync(sidecarPath(path))) return { mode: "predicted", predictor: "auto" } as const;
  return { predictor: "auto" } as const;
}

async function engineOptions(
  path: string,
  flags: EngineFlags,
  { setAsideBytes = 0, contextTokens, maxSequences }: BesideFlags,
): Promise<ModelOptions> {
  return {
    dramBudgetBytes: await budgetBeside(path, flags, setAsideBytes),
    contextTokens: flags.context ?? contextTokens,
    maxSequences,
    threshold: flags.threshold,
    residentMargin: flags.residentMargin,
    routerKeep: flags.routerKeep,
    expertsPerToken: flags.experts,
    windowTokens: flags.window,
    policy: flags.policy,
    cacheScope: flags.cacheScope,
    kvPrecision: flags.kvPrecision,
    mergeGapBytes: flags.mergeGap,
    ...switched("overlap", flags.overlap),
    ...switched("lookahead", flags.lookahead),
  };
}

/** Nothing for `auto`: then the engine decides. */
function switched<Name extends "overlap" | "lookahead">(
  name: Name,
  wish: Switch | undefined,
): { [key in Name]?: boolean } {
  return wish === undefined || wish === "auto" ? {} : ({ [name]: wish === "on" } as { [key in Name]: boolean });
}

/** What is left of the budget beside what is set aside; undefined: the library takes what the machine has. */
async function budgetBeside(
  path: string,
  { dramBudget }: EngineFlags,
  setAsideBytes: number,
): Promise<number | undefined> {
  if (!dramBudget && setAsideBytes === 0) return undefined;
  const whole = dramBudget ? await budgetBytes(path, dramBudget) : spareMemoryBytes();
  if (whole > setAsideBytes) return whole - setAsideBytes;
  throw new UsageError(
    `a DRAM budget of ${formatBytes(whole)} has no room beside the draft model, which takes ${formatBytes(setAsideBytes)}; give more, or reserve ` +
      "less with --context",
  );
}

/** Bytes of a budget for the model file at `path`, of which percentages are. */
export async function budgetBytes(path: string, budget: ByteSize): Promise<number> {
  // A file that is not there is for openModel to report.
  const fileBytes = await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
  return resolveByteSize(budget, fileBytes);
}

/** A predictor would make the run sparse, and there could be one. */
function noteDense(path: string, { header }: Model, report: Report): void {
  const sidecar = sidecarPath(path);
  if (existsSync(sidecar) || !isSparse(header.geometry) || header.weights.layout === "matrices") return;
  report.note(
    `note: this run is dense: it streams every layer for every token, because there is no predictor ${sidecar}; ` +
      "flashwick train makes one",
  );
}

/** @throws {UsageError} unless exactly one of the named flags is given. */
export function requireOne(flags: object, names: readonly string[]): void {
  const given = names.filter((name) => (flags as Record<string, unknown>)[camelCase(name)] !== undefined);
  if (given.length === 1) return;
  const all = names.map((name) => `--${name}`).join(", ");
  const found = given.length === 0 ? "none" : given.map((name) => `--${name}`).join(" and ");
  throw new UsageError(`expected exactly one of ${all}; found ${found}`);
}

function camelCase(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
