/** The plan of a model for this machine as it is, at the usual length of a run. */
import { type DeviceProfile, devicePreset } from "@flashwick/cost-model";
import { readKeptProfile, spareMemoryBytes } from "@flashwick/runtime/node/estimate";
import { type ByteSize, resolveByteSize } from "../byte-size.js";
import { type DeviceFlags, namedDevice } from "../named-device.js";
import { type PlanDocument, planOrRefusal, type RefusalDocument } from "./plan-document.js";
import { type PlanSubject, planFacts } from "./plan-subject.js";

/** A device to plan for, and whether it is this machine as it was measured. */
export interface PlannedDevice {
  readonly profile: DeviceProfile;
  readonly isMeasured: boolean;
}

/** Stands for a machine that nobody has measured. */
export const ASSUMED_DEVICE = "nvme-pcie4";
/** Tokens of prompt and reply, as in LLM in a flash. */
const LENGTH = { promptTokens: 128, decodeTokens: 256 };

/** @param folder Where the model will lie. @throws As `namedDevice`. */
export async function deviceFor(folder: string, flags: DeviceFlags): Promise<PlannedDevice> {
  const profile = (await namedDevice(flags)) ?? readKeptProfile(folder) ?? readKeptProfile(".");
  return { profile: profile ?? devicePreset(ASSUMED_DEVICE), isMeasured: profile !== null };
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
  return planOrRefusal(facts, request);
}
