/** `flashwick trace simulate`: a recorded trace through caches of any policy and size. */
import { formatBytes, InputError, unitGrid, unitName } from "@flashwick/core";
import { DEVICE_PRESETS } from "@flashwick/cost-model";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import { bytesOfExpert, openModelFile, planExpertSlot, recordLayout } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import {
  type SimulatedTrace,
  STUDY_POLICIES,
  type StudyPolicy,
  simulateTrace,
  studyPolicies,
} from "@flashwick/runtime";
import { type Command, InvalidArgumentError } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import { UsageError } from "../failure.js";
import type { Invocation } from "../invocation.js";
import { type DeviceFlags, namedDevice } from "../named-device.js";
import { type CountOrShare, countsOrShares, integer, plainBytes } from "../option-values.js";
import { checkOutput, writeOutput } from "../output-file.js";
import { type Simulation, unitWords } from "../plan/simulation.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, percent, table } from "../table.js";
import { readTrace } from "../trace-file.js";

interface SimulateFlags extends CommonFlags, DeviceFlags {
  readonly policy: readonly StudyPolicy[] | "all";
  readonly pool?: boolean;
  readonly slots: readonly CountOrShare[];
  readonly window?: number;
  readonly model?: string;
  readonly recordBytes?: number;
  /** Bytes. */
  readonly mergeGap: number;
  readonly warmUp?: number;
  readonly readers: number;
  readonly plot?: string;
  readonly force?: boolean;
}

/** OPT 6.7B's at 16 bit: two halves of 4096 values. */
const DEFAULT_RECORD_BYTES = 16384;
const DEFAULT_SLOTS = "5%,7%,10%,14%,20%,28%,40%,57%,80%";
/** Of a trace, unless said otherwise, an eighth fills the cache and is not counted. */
const WARM_UP_SHARE = 1 / 8;

export function traceSimulateCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "simulate",
    summary: "Replay a trace through caches: hits, bytes, reads, copies and the milliseconds of the reads.",
    example: "flashwick trace simulate opt-demo.trace --slots 5%,10%,20% --preset nvme-pcie4 --plot misses.svg",
  })
    .argument("<trace>", "what flashwick trace record has written")
    .option("--policy <list>", `all, or some of ${STUDY_POLICIES.join(",")}`, policies, "all")
    .option("--pool", "one cache of all layers, as for experts (default: one for each layer)")
    .option(
      "--slots <list>",
      `neurons, or experts, that a cache holds: counts, or shares of its layer or pool (default: ${DEFAULT_SLOTS})`,
      countsOrShares,
    )
    .option(
      "--window <n>",
      "window and pinned: neurons of the last n tokens stay (default: as many as fit)",
      integer(1),
    )
    .option(
      "--model <model.gguf>",
      "the model file: its record size and layout, and whether the trace is of experts (default: none)",
    )
    .option(
      "--record-bytes <size>",
      `flash bytes of a neuron or an expert, without --model (default: ${formatBytes(DEFAULT_RECORD_BYTES)}, as OPT 6.7B)`,
      plainBytes,
    )
    .option("--merge-gap <size>", "unneeded bytes between two reads up to which they become one", plainBytes, 0)
    .option("--warm-up <n>", "tokens that fill the cache and are not counted (default: an eighth)", integer(0))
    .option("--device <device.json>", "time the reads on what flashwick profile has written (default: not timed)")
    .option("--preset <name>", `time the reads on a published device (default: none): ${DEVICE_PRESETS.join(", ")}`)
    .option("--readers <n>", "reads in flight", integer(1), 8)
    .option("--plot <out.svg>", "draw misses over slots for all policies (default: no picture)")
    .option("--force", "replace an existing picture (default: off)")
    .action(async (trace: string, _, command: Command) => {
      const flags = command.optsWithGlobals<SimulateFlags>();
      const { terminal } = invocation;
      const withDefaults = { ...flags, slots: flags.slots ?? countsOrShares(DEFAULT_SLOTS) };
      invocation.exitStatus = await withReport(terminal, flags, (report) => simulate(trace, withDefaults, report));
    });
}

function policies(text: string): readonly StudyPolicy[] | "all" {
  if (text === "all") return "all";
  const names = text.split(",").map((name) => name.trim());
  const isKnown = (name: string): name is StudyPolicy => (STUDY_POLICIES as readonly string[]).includes(name);
  if (names.every(isKnown)) return names;
  throw new InvalidArgumentError(`Expected all, or some of ${STUDY_POLICIES.join(",")}.`);
}

async function simulate(path: string, flags: SimulateFlags, report: Report): Promise<number> {
  checkOutput(flags.plot, flags.force);
  const trace = await readTrace(path);
  const { unit, ...records } = await recordsOf(flags, trace);
  const profile = await namedDevice(flags);
  const warmUpTokens = flags.warmUp ?? Math.floor(trace.tokens.length * WARM_UP_SHARE);
  const { mergeGap: mergeGapBytes, pool = false } = flags;
  const slots = flags.slots.map((wish) => slotsOf(wish, pool ? trace.nLayers * trace.dFf : trace.dFf));
  const names = flags.policy === "all" ? studyPolicies(pool) : flags.policy;
  const total = names.length * slots.length;
  const rows: SimulatedTrace[] = [];
  for (const count of slots) {
    for (const policy of names) {
      report.terminal.signal.throwIfAborted();
      report.onProgress({ phase: "simulate", loaded: rows.length, total, unit: "runs", detail: policy });
      const device = profile && { profile, readers: flags.readers };
      const windowTokens = flags.window ?? null;
      rows.push(
        simulateTrace(trace, {
          policy,
          slots: count,
          pool,
          windowTokens,
          ...records,
          mergeGapBytes,
          warmUpTokens,
          device,
        }),
      );
      // Ctrl-C is heard between two runs.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const document: Simulation = {
    trace: path,
    unit,
    nLayers: trace.nLayers,
    dFf: trace.dFf,
    pool,
    recordBytes: records.strideBytes * records.readsPerNeuron,
    readsPerNeuron: records.readsPerNeuron,
    mergeGapBytes,
    warmUpTokens,
    device: profile?.name ?? null,
    rows,
    plot: flags.plot ?? null,
  };
  if (flags.plot !== undefined) {
    // The drawing library is large.
    const { missPicture } = await import("../plan/miss-picture.js");
    await writeOutput(flags.plot, missPicture(document));
  }
  report.result(document, () => simulationText(document));
  return 0;
}

interface TracedRecords {
  readonly unit: Simulation["unit"];
  readonly strideBytes: number;
  readonly readsPerNeuron: number;
}

async function recordsOf({ model, recordBytes }: SimulateFlags, trace: NeuronTrace): Promise<TracedRecords> {
  if (model === undefined) return { unit: null, strideBytes: recordBytes ?? DEFAULT_RECORD_BYTES, readsPerNeuron: 1 };
  if (recordBytes !== undefined) throw new UsageError("expected one of --model and --record-bytes, found both");
  const source = await fileSource(model);
  const { header } = await openModelFile(source).finally(() => source.close());
  const { nLayers, dFf } = unitGrid(header.geometry);
  const unit = unitName(header.geometry);
  if (nLayers !== trace.nLayers || dFf !== trace.dFf) {
    const message = `${model}: ${nLayers} layers of ${dFf} ${unit}s, expected the trace's ${trace.nLayers} of ${trace.dFf}`;
    throw new InputError("INPUT_INVALID", message);
  }
  const mixture = header.experts.find((layer) => layer !== null);
  if (mixture) {
    const reads = planExpertSlot(mixture).pieces.length;
    return { unit, strideBytes: bytesOfExpert(mixture) / reads, readsPerNeuron: reads };
  }
  const { strideBytes, layout } = recordLayout(header);
  return { unit, strideBytes, readsPerNeuron: layout === "split" ? 2 : 1 };
}

/** @param units Of a layer, or of all in a pool. */
function slotsOf(wish: CountOrShare, units: number): number {
  return Math.min(units, wish.kind === "count" ? wish.count : Math.max(1, Math.round(wish.share * units)));
}

function simulationText(simulation: Simulation): string {
  const { nLayers, dFf, pool, recordBytes, device, rows, plot } = simulation;
  const timed = device !== null;
  const head = ["slots", "policy", "missed", "misses", "MB", "reads", "records a read", "copies", "window"];
  const lines = rows.map(({ slots, policy, missShare, perToken, recordsPerRead, meanWindowTokens }) => [
    `${slots} (${percent(slots / (pool ? nLayers * dFf : dFf))})`,
    policy,
    percent(missShare),
    figure(perToken.misses),
    figure(perToken.flashBytes / 1e6),
    figure(perToken.flashReads),
    figure(recordsPerRead),
    perToken.moves === null ? "—" : figure(perToken.moves),
    meanWindowTokens === null ? "—" : figure(meanWindowTokens),
    ...(timed ? [figure(perToken.readMs!)] : []),
  ]);
  const facts = `${nLayers} layers of ${dFf} ${unitWords(simulation)}${pool ? " in one pool" : ""}, ${formatBytes(recordBytes)} each, ${rows[0]!.tokens} tokens; means per token${
    timed ? `; reads on ${device}` : ""
  }`;
  return `${facts}\n\n${table([[...head, ...(timed ? ["read ms"] : [])], ...lines])}${plot === null ? "" : `\n\npicture: ${plot}`}`;
}
