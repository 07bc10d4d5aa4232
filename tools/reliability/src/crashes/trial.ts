/**
 * One crash, or one failure of the disk, and what must hold after it.
 *
 * - Each output is what was there before, byte for byte, or the new file, whole.
 * - The same command again (forced, where one of two outputs is whole) gives the bytes of a run that nothing has disturbed, and leaves no file that such a run does not leave.
 * - A failure of the disk ends the command with a typed error that names a file and says what to do, and leaves only what the next call goes on from.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { CrashInputs } from "./crash-inputs.js";
import { digestOf, type FolderState, folderState } from "./folder-state.js";
import { type KillMode, type ProgramEnd, runProgram } from "./program-run.js";
import type { Scenario } from "./scenario.js";

/** A scenario on a free name, or over an older file. */
export interface Case {
  readonly scenario: Scenario;
  readonly replaces: boolean;
}

/** What a run that nothing disturbs does. */
export interface Reference {
  readonly operations: readonly Operation[];
  readonly before: FolderState;
  readonly after: FolderState;
  readonly ms: number;
}

export interface Operation {
  readonly kind: string;
  readonly path: string;
  readonly hasHalves: boolean;
}

/** What to do to it: at an operation, or from outside after so long. */
export type Disturbance =
  | { readonly mode: Exclude<KillMode, "count">; readonly at: number }
  | { readonly mode: "random"; readonly afterMs: number };

/** What became of the outputs, and everything that should not be. */
export interface Verdict {
  readonly outputs: "old" | "new" | "some new";
  /** Whether the disturbance came before the end. */
  readonly wasHit: boolean;
  readonly faults: readonly string[];
}

const ERRORS: ReadonlySet<string> = new Set(["ENOSPC", "EIO", "EACCES"]);

/** Runs a case in a folder of its own, as often as is asked, and remembers what second calls came to. */
export class TrialRunner {
  /** Faults of the second call, by what the first one has left. */
  readonly #again = new Map<string, readonly string[]>();

  constructor(
    readonly subject: Case,
    readonly reference: Reference,
    private readonly inputs: CrashInputs,
    private readonly work: string,
  ) {}

  async run(disturbance: Disturbance): Promise<Verdict> {
    prepare(this.subject, this.work, this.inputs);
    const end = await call(this.subject, this.work, this.inputs, { disturbance });
    const state = folderState(this.work);
    const [outputs, mixed] = this.#outputsOf(state, disturbance.mode.startsWith("power"));
    const isError = ERRORS.has(disturbance.mode);
    const wasHit = isError ? end.status !== 0 : end.status === null;
    const faults = [...mixed, ...(isError ? this.#faultsOfError(end, state, outputs) : faultsOfDeath(end))];
    return { outputs, wasHit, faults: [...faults, ...(await this.#secondCall(state, outputs))] };
  }

  #outputsOf(state: FolderState, lostPower: boolean): [Verdict["outputs"], string[]] {
    const { before, after } = this.reference;
    const { outputs: made, isChecked = false } = this.subject.scenario;
    const isNew = (path: string) => state.get(path) === after.get(path);
    const mixed = made.filter((path) => !isNew(path) && state.get(path) !== before.get(path));
    const news = made.filter(isNew).length;
    const outputs = news === made.length ? "new" : news === 0 ? "old" : "some new";
    if (lostPower && isChecked) return [outputs, []];
    return [outputs, mixed.map((path) => `${path} is neither the old file nor the new one`)];
  }

  #faultsOfError(end: ProgramEnd, state: FolderState, outputs: Verdict["outputs"]): string[] {
    const { scenario } = this.subject;
    const { before, after } = this.reference;
    const isLeft = (path: string) => !before.has(path) && !(after.has(path) && state.get(path) === after.get(path));
    const isFolder = (path: string) => state.get(path) === null;
    const strays = [...state.keys()].filter((path) => isLeft(path) && !isFolder(path) && !scenario.keeps?.test(path));
    const left = strays.map((path) => `${path} is left after a failure`);
    if (end.hangs) return ["hangs", ...left];
    if (end.status !== 0) return [...faultsOfMessage(end, this.work), ...left];
    return outputs === "new" || scenario.isOptional ? left : ["ends well without its output", ...left];
  }

  async #secondCall(state: FolderState, outputs: Verdict["outputs"]): Promise<readonly string[]> {
    const key = digestOf(state);
    const known = this.#again.get(key);
    if (known) return known;
    this.subject.scenario.settle?.(this.work);
    const second = await call(this.subject, this.work, this.inputs, { isSecond: true });
    const isRefused = !this.subject.replaces && outputs !== "old" && /"IO_EXISTS"/.test(second.out);
    // One of two outputs is whole: then the user has been told to force it.
    const isForced = isRefused && outputs === "some new";
    const end = isForced ? await call(this.subject, this.work, this.inputs, { isSecond: true, isForced }) : second;
    const faults = this.#faultsOfSecond(end, folderState(this.work), isRefused && !isForced);
    this.#again.set(key, faults);
    return faults;
  }

  /** @param isRefused Because the output is there, whole. */
  #faultsOfSecond({ status, out, err }: ProgramEnd, state: FolderState, isRefused: boolean): string[] {
    const { after } = this.reference;
    const { keeps } = this.subject.scenario;
    const paths = [...new Set([...after.keys(), ...state.keys()])];
    const faults = paths
      .filter((path) => state.get(path) !== after.get(path) && !(isRefused && keeps?.test(path)))
      .map(
        (path) => `${path} is ${after.has(path) ? "not what an undisturbed run makes" : "left after the second call"}`,
      );
    return status === 0 || isRefused ? faults : [`second call ends with ${status}: ${out}${err}`, ...faults];
  }
}

/** What an undisturbed run does and makes. @throws If two of them differ: then nothing can be compared. */
export async function referenceOf(
  subject: Case,
  work: string,
  inputs: CrashInputs,
  isRival = false,
): Promise<Reference> {
  const runs: Reference[] = [];
  for (let i = 0; i < 2; i++) {
    prepare(subject, work, inputs);
    const before = folderState(work);
    const list = `${work}.operations.json`;
    const { status, out, err, ms } = await call(subject, work, inputs, { list, isRival });
    if (status !== 0) throw new Error(`${subject.scenario.name} ends with ${status}: ${out}${err}`);
    const operations = JSON.parse(readFileSync(list, "utf8")) as Operation[];
    runs.push({ operations, before, after: folderState(work), ms });
  }
  const [one, two] = runs as [Reference, Reference];
  if (digestOf(one.after) !== digestOf(two.after)) {
    const differing = [...one.after].filter(([path, hash]) => two.after.get(path) !== hash).map(([path]) => path);
    throw new Error(`${subject.scenario.name}: two undisturbed runs make different ${differing.join(", ")}`);
  }
  return two;
}

/** The folder as it is before the first call. */
export function prepare({ scenario, replaces }: Case, work: string, inputs: CrashInputs): void {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  scenario.prepare?.(work, inputs);
  if (!replaces) return;
  for (const path of scenario.outputs) {
    mkdirSync(dirname(join(work, path)), { recursive: true });
    writeFileSync(join(work, path), `the older ${path}`);
  }
}

export interface CallOptions {
  readonly disturbance?: Disturbance;
  readonly list?: string;
  readonly isSecond?: boolean;
  readonly isRival?: boolean;
  readonly isForced?: boolean;
}

/** Runs the command of a case once. */
export async function call(
  { scenario, replaces }: Case,
  work: string,
  inputs: CrashInputs,
  { disturbance, list, isSecond = false, isRival = false, isForced = replaces }: CallOptions,
): Promise<ProgramEnd> {
  const words = [
    ...scenario.command(work, inputs),
    ...(isForced ? (scenario.force ?? []) : []),
    ...(isRival ? (scenario.rival ?? []) : []),
    ...(isSecond ? (scenario.resume ?? []) : []),
  ];
  const env = { ...inputs.env, ...scenario.env?.(work) };
  if (list !== undefined) return await runProgram(words, { env, kill: { root: work, mode: "count", list } });
  if (disturbance === undefined) return await runProgram(words, { env });
  if (disturbance.mode === "random") return await runProgram(words, { env, killAfterMs: disturbance.afterMs });
  const { mode, at } = disturbance;
  return await runProgram(words, { env, kill: { root: work, mode, at } });
}

function faultsOfDeath({ status, hangs, out, err }: ProgramEnd): string[] {
  if (hangs) return ["hangs"];
  // It may have ended before it could be killed.
  return status === null || status === 0 ? [] : [`ends with ${status} before it is killed: ${out}${err}`];
}

/** A message must be typed, name a file, and say after a semicolon what to do. */
export function faultsOfMessage({ out, err }: ProgramEnd, work: string): string[] {
  const line = out.split("\n").find((text) => text.startsWith('{"error"'));
  if (line === undefined) return [`ends without a typed error: ${out}${err}`];
  const { code, message } = (JSON.parse(line) as { error: { code: string; message: string } }).error;
  const faults: string[] = [];
  if (!/^(IO|FORMAT|INPUT)_/.test(code)) faults.push(`error ${code} is not typed: ${message}`);
  if (!message.includes(work)) faults.push(`message names no file: ${message}`);
  if (!/; \w/.test(message)) faults.push(`message does not say what to do: ${message}`);
  return faults;
}
