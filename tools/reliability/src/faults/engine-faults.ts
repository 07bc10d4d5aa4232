/**
 * Whole engines over a file that fails at one operation, whichever it is: opening, loading, the prompt and some tokens. Each ends in a typed error, after
 * which the model can be closed and nothing is left, or in exactly the logits that it has when nothing goes wrong.
 */
import { isFlashwickError } from "@flashwick/core";
import type { FlashReader } from "@flashwick/flash-io";
import { FAULT_KINDS, type Fault, type FaultKind, FaultyFile } from "@flashwick/flash-io/conformance";
import { httpSource, openHttpReader } from "@flashwick/flash-io/http";
import { openFileReader } from "@flashwick/flash-io/node";
import type { Model } from "@flashwick/runtime";
import { logitsOf, openTiny, sameBits, type TinyModel } from "./tiny-models.js";

/** How the engine reaches the file. */
export type Device = "file" | "server" | "server without versions";
export const DEVICES: readonly Device[] = ["file", "server", "server without versions"];

/** What a fault came to. */
export interface Outcome {
  /** `right`, the code of a typed error, or what went wrong, in words. */
  readonly outcome: string;
  /** Whether that is as it must be. */
  readonly ok: boolean;
}

/** What came of each outcome, of the operations that were struck. */
export interface FaultTotals {
  /** Of a run in which nothing goes wrong. */
  readonly operations: number;
  readonly struck: number;
  readonly outcomes: ReadonlyMap<string, number>;
  readonly faults: readonly string[];
}

/** What is no failure, so that no error may come of it. */
const NEVER_FAILS: readonly FaultKind[] = ["delay", "reorder"];
const CHANGES_FILE: readonly FaultKind[] = ["shrink", "grow", "replace", "delete"];

/** Operations of a run in which nothing goes wrong, and its logits. */
export async function undisturbed(
  model: TinyModel,
  device: Device,
): Promise<{ operations: number; logits: Float32Array }> {
  const file = new FaultyFile(model.bytes);
  const opened = await open(model, file, device);
  const logits = await logitsOf(opened);
  await opened.close();
  return { operations: file.counter.operations, logits };
}

/**
 * Strikes operations `from`, `from + step` … of a run with faults of one kind.
 *
 * @param step 1: every one of them.
 */
export async function strikeEach(
  model: TinyModel,
  device: Device,
  kind: FaultKind,
  { from, step, seed }: { readonly from: number; readonly step: number; readonly seed: number },
): Promise<FaultTotals> {
  const { operations, logits } = await undisturbed(model, device);
  const outcomes = new Map<string, number>();
  const faults: string[] = [];
  let struck = 0;
  for (let at = from; at <= operations; at += step) {
    struck++;
    const { outcome, ok } = await strike(model, device, { kind, at, seed: seed + at }, logits);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    if (!ok) faults.push(`${model.name}, ${device}: ${kind} at operation ${at} of ${operations}: ${outcome}`);
  }
  return { operations, struck, outcomes, faults };
}

async function strike(model: TinyModel, device: Device, fault: Fault, logits: Float32Array): Promise<Outcome> {
  const file = new FaultyFile(model.bytes);
  file.counter.arm(fault);
  let opened: Model | null = null;
  let outcome: Outcome;
  try {
    opened = await open(model, file, device);
    outcome = judge(model, device, fault, sameBits(await logitsOf(opened), logits) ? "right" : "wrong logits");
  } catch (error) {
    outcome = judge(model, device, fault, error);
  }
  // What was believed once is in DRAM, and is believed again.
  const isPast = outcome.outcome !== "wrong logits" && !CHANGES_FILE.includes(fault.kind);
  if (opened && outcome.ok && isPast) outcome = (await again(opened, logits)) ?? outcome;
  try {
    await opened?.close();
  } catch (error) {
    return { outcome: `close() throws ${String(error)}`, ok: false };
  }
  if (file.pending === 0 && file.open === 0) return outcome;
  return { outcome: `${file.pending} reads in flight and ${file.open} files open after close()`, ok: false };
}

/** What nobody can notice of a file without checksums: a bit, and another file of its length where the server names no versions. */
function isBelieved(device: Device, kind: FaultKind): boolean {
  return kind === "wrong-bit" || (kind === "replace" && device === "server without versions");
}

function judge({ isChecked }: TinyModel, device: Device, { kind }: Fault, found: unknown): Outcome {
  if (found === "right") return { outcome: "right", ok: true };
  if (found === "wrong logits") return { outcome: "wrong logits", ok: !isChecked && isBelieved(device, kind) };
  if (isFlashwickError(found)) return { outcome: found.code, ok: !NEVER_FAILS.includes(kind) };
  return { outcome: String(found), ok: false };
}

/** After a fault that has passed, the model gives the right logits, whatever it gave before; null if it does. */
async function again(opened: Model, logits: Float32Array): Promise<Outcome | null> {
  try {
    return sameBits(await logitsOf(opened), logits) ? null : { outcome: "wrong logits the next time", ok: false };
  } catch (error) {
    return { outcome: `the next time ${String(error)}`, ok: false };
  }
}

async function open(model: TinyModel, file: FaultyFile, device: Device): Promise<Model> {
  if (device === "file") return await openTiny(model, file.source(model.name), openFileReader(model.name, file.reads));
  const options = { fetch: file.server(device === "server"), tries: 1, keptBlocks: 0, mergeGapBytes: 0 };
  const source = await httpSource("http://server/model.gguf", options);
  let reader: FlashReader;
  try {
    reader = await openHttpReader("http://server/model.gguf", options);
  } catch (error) {
    await source.close();
    throw error;
  }
  return await openTiny(model, source, reader);
}

/** All kinds. */
export const KINDS = FAULT_KINDS;
