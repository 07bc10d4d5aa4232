/**
 * Two writers of one output at once: what is there at the end is one of the two files, whole; whoever ends well has it there, or was replaced by another who
 * ended well; whoever does not is told why; and nothing else is left.
 */
import { setTimeout as after } from "node:timers/promises";
import type { CrashInputs } from "./crash-inputs.js";
import { folderState } from "./folder-state.js";
import { type Case, call, faultsOfMessage, prepare, type Reference } from "./trial.js";

export interface RaceVerdict {
  /** Of the two, how many ended well. */
  readonly winners: number;
  readonly faults: readonly string[];
}

/** @param references Of the first and of the second writer. */
export async function race(
  subject: Case,
  references: readonly [Reference, Reference],
  delayMs: number,
  work: string,
  inputs: CrashInputs,
): Promise<RaceVerdict> {
  prepare(subject, work, inputs);
  const ends = await Promise.all([
    call(subject, work, inputs, {}),
    after(delayMs).then(() => call(subject, work, inputs, { isRival: true })),
  ]);
  const state = folderState(work);
  const { outputs, keeps } = subject.scenario;
  const isOf = (reference: Reference) => outputs.every((path) => state.get(path) === reference.after.get(path));
  const matching = references.filter(isOf);
  const winners = ends.filter(({ status }) => status === 0).length;
  const faults: string[] = [];
  const [{ before, after: made }] = references;
  const isOld = outputs.every((path) => state.get(path) === before.get(path));
  if (matching.length === 0 && !(winners === 0 && isOld)) faults.push("the output is of neither writer");
  const winner = references[ends.findIndex(({ status }) => status === 0)];
  if (winners === 1 && winner && !isOf(winner)) faults.push("the output is not of the one writer that ended well");
  for (const end of ends) {
    if (end.hangs) faults.push("hangs");
    else if (end.status !== 0) faults.push(...faultsOfMessage(end, work));
  }
  const strays = [...state.keys()].filter((path) => !made.has(path) && !before.has(path));
  // A writer that was told may leave what the next call goes on from, unless the other one made it all.
  const isKept = (path: string) => winners === 0 && keeps?.test(path);
  faults.push(...strays.filter((path) => !isKept(path)).map((path) => `${path} is left after two writers`));
  return { winners, faults };
}
