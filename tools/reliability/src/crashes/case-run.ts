/** All trials of one case, a few at a time. */
import { Random } from "@flashwick/core";
import type { CrashInputs } from "./crash-inputs.js";
import { race } from "./race.js";
import { type CaseTotals, NO_TRIALS, sum } from "./results-table.js";
import { type Case, type Disturbance, referenceOf, TrialRunner, type Verdict } from "./trial.js";
import { planTrials, type TrialWish } from "./trial-plan.js";

export interface CaseWish extends Omit<TrialWish, "stride"> {
  readonly races: number;
  /** Of the planned trials, the first and how many. */
  readonly from: number;
  readonly count: number;
  /** Multiplies the scenario's own stride. */
  readonly stride: number;
  /** Processes at once. */
  readonly jobs: number;
}

export interface CaseResult {
  readonly totals: CaseTotals;
  /** Trials that there are, whatever `from` and `count` say. */
  readonly planned: number;
  /** What went wrong, with the disturbance before it. */
  readonly faults: readonly string[];
}

/** @param folder A folder of the caller's; work is done below it. Cost: a process or two for each trial. */
export async function runCase(subject: Case, inputs: CrashInputs, folder: string, wish: CaseWish): Promise<CaseResult> {
  // Messages and files hold no path, so that lanes can share a reference; operations are told by number.
  const reference = await referenceOf(subject, `${folder}/lane-0`, inputs);
  const all = planTrials(reference, { ...wish, stride: wish.stride * (subject.scenario.stride ?? 1) });
  const left = all.slice(wish.from, wish.from + wish.count).entries();
  let totals: CaseTotals = { ...NO_TRIALS, operations: reference.operations.length };
  const faults: string[] = [];
  const lane = async (work: string) => {
    const runner = new TrialRunner(subject, reference, inputs, work);
    for (const [, disturbance] of left) {
      const verdict = await runner.run(disturbance);
      totals = sum(totals, countsOf(disturbance, verdict));
      faults.push(...verdict.faults.map((fault) => `${placeOf(disturbance, reference.operations)}: ${fault}`));
    }
  };
  await Promise.all(Array.from({ length: wish.jobs }, (_, i) => lane(`${folder}/lane-${i}`)));
  if (wish.races > 0) {
    const rivals = await referenceOf(subject, `${folder}/race`, inputs, true);
    const random = new Random(wish.seed);
    for (let i = 0; i < wish.races; i++) {
      // Half of them at once.
      const delayMs = i % 2 === 0 ? 0 : (reference.ms * random.below(1000)) / 1000;
      const verdict = await race(subject, [reference, rivals], delayMs, `${folder}/race`, inputs);
      const key = (["racesNone", "racesOne", "racesBoth"] as const)[verdict.winners]!;
      totals = sum(totals, { ...NO_TRIALS, races: 1, [key]: 1, faults: Math.min(1, verdict.faults.length) });
      faults.push(...verdict.faults.map((fault) => `race, ${delayMs.toFixed(0)} ms apart: ${fault}`));
    }
  }
  return { totals, planned: all.length, faults };
}

function countsOf({ mode }: Disturbance, { outputs, wasHit, faults }: Verdict): CaseTotals {
  const isError = mode === "ENOSPC" || mode === "EIO" || mode === "EACCES";
  const counts = { ...NO_TRIALS, faults: Math.min(1, faults.length) };
  if (isError) return wasHit ? { ...counts, errorsTold: 1 } : { ...counts, errorsBorne: 1 };
  // One at a random time may come too late.
  if (!wasHit) return counts;
  const key = ({ old: "leftOld", new: "leftNew", "some new": "leftSome" } as const)[outputs];
  return { ...counts, kills: 1, [key]: 1 };
}

function placeOf(disturbance: Disturbance, operations: readonly { readonly kind: string; readonly path: string }[]) {
  if (disturbance.mode === "random") return `killed after ${disturbance.afterMs.toFixed(0)} ms`;
  const { kind, path } = operations[disturbance.at]!;
  return `${disturbance.mode} at operation ${disturbance.at}, ${kind} of ${path.slice(path.lastIndexOf("/") + 1)}`;
}
