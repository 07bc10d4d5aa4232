/** The device that a plan is for, and the plan of a model for this machine as it is, at the usual length of a run. */
import { existsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { isFlashwickError } from "@flashwick/core";
import {
  type DeviceProfile,
  type DraftShares,
  devicePreset,
  type ModePlan,
  type PlanRequest,
  planModes,
} from "@flashwick/cost-model";
import { readKeptProfile, spareMemoryBytes } from "@flashwick/runtime/node/estimate";
import { type ByteSize, resolveByteSize } from "../byte-size.js";
import { type DeviceFlags, namedDevice } from "../named-device.js";
import type { Report } from "../report.js";
import { type PlanDocument, planOrRefusal, type RefusalDocument } from "./plan-document.js";
import { type PlanSubject, planFacts } from "./plan-subject.js";

/** A device to plan for, and how it is known. */
export interface PlannedDevice {
  readonly profile: DeviceProfile;
  /** Named by a flag; this machine by a kept profile, or by a brief one; or one that stands for a machine that cannot be measured. */
  readonly origin: "named" | "kept" | "brief" | "assumed";
}

/** Stands for a machine that cannot be measured. */
const ASSUMED_DEVICE = "nvme-pcie4";
/** Tokens of prompt and reply, as in LLM in a flash. */
const LENGTH = { promptTokens: 128, decodeTokens: 256 };

/**
 * @param path Where the model lies, or will lie; it need not be there yet.
 * @throws As `namedDevice`. The signal's own reason.
 * Cost: about a second, once for a machine and a disk, where neither a flag nor a kept profile says what the device is.
 */
export async function deviceFor(path: string, flags: DeviceFlags, report: Report): Promise<PlannedDevice> {
  const named = await namedDevice(flags);
  if (named) return { profile: named, origin: "named" };
  const kept = readKeptProfile(path) ?? readKeptProfile(".");
  if (kept) return { profile: kept, origin: "kept" };
  const brief = await measuredBriefly(existingFolder(path), report);
  return brief ? { profile: brief, origin: "brief" } : { profile: devicePreset(ASSUMED_DEVICE), origin: "assumed" };
}

/** What is to be said of a device that nobody named and nobody measured thoroughly; null: nothing. */
export function deviceNote({ profile, origin }: PlannedDevice): string | null {
  if (origin === "named" || origin === "kept") return null;
  const plan = origin === "brief" ? "by one that was measured within a second" : `for ${profile.name}`;
  return `note: no profile of this machine is kept, so the plan is ${plan}; run flashwick profile to have it measured thoroughly`;
}

/** Null where it cannot be measured: no room, or no right to write there. */
async function measuredBriefly(path: string, { terminal, onProgress }: Report): Promise<DeviceProfile | null> {
  const { signal } = terminal;
  // It measures with the kernels, which few plans need.
  const { briefProfile } = await import("@flashwick/runtime/node");
  try {
    // A log, which is kept, has no line of it.
    return await briefProfile({ path, signal, ...(terminal.err.isTty && { onProgress }) });
  } catch (error) {
    if (signal.aborted || !isFlashwickError(error)) throw error;
    return null;
  }
}

/** The folder of a path, or the nearest one above that is there. */
function existingFolder(path: string): string {
  let folder = resolve(path);
  while (!existsSync(folder) || !statSync(folder).isDirectory()) folder = dirname(folder);
  return folder;
}

/** Every way of running the model, the fastest first; none of a mixture, which has one. */
export function modesOf(subject: PlanSubject, request: PlanRequest, drafts?: DraftShares): readonly ModePlan[] {
  return subject.units === "neurons" ? planModes(request, drafts) : [];
}

/** @param budget Null: what this machine has free. */
export function planForMachine(
  subject: PlanSubject,
  { profile }: PlannedDevice,
  budget: ByteSize | null,
): PlanDocument | RefusalDocument {
  const { fileBytes, contextLength } = subject;
  const budgetBytes = budget === null ? spareMemoryBytes() : resolveByteSize(budget, fileBytes);
  const facts = planFacts(subject, { device: profile.name, budgetBytes, energy: null });
  const request = subject.request({
    profile,
    length: LENGTH,
    fixed: {},
    kvPrecision: "auto",
    contextTokens: Math.min(contextLength, LENGTH.promptTokens + LENGTH.decodeTokens),
    dramBudgetBytes: budgetBytes,
  });
  return planOrRefusal(facts, request, { lossless: () => null, modes: () => modesOf(subject, request) });
}
