/** A repository of several models, where none is named: what each would take here, so that a person can choose. */
import { formatBytes, isFlashwickError } from "@flashwick/core";
import type { HubModel, HubRepository } from "@flashwick/hub";
import type { ByteSize } from "../byte-size.js";
import { UsageError } from "../failure.js";
import { remoteSubject } from "../plan/hub-subject.js";
import { type PlannedDevice, planForMachine } from "../plan/machine-plan.js";
import { figure, table } from "../table.js";

/** One model of several. */
export interface ModelOffer {
  /** To be named after the repository. */
  readonly file: string;
  readonly bytes: number;
  readonly fits: boolean | null;
  /** The three are null where it does not run here, and where it was not looked at. */
  readonly smallestBudgetBytes: number | null;
  readonly tokensPerSec: number | null;
  /** Why it does not run here; null: it does, or was not looked at. */
  readonly refusal: string | null;
}

/** A header has some megabytes, most of them vocabulary: more of them than this are not fetched to make a list. */
const MOST_HEADERS = 24;
const IN_FLIGHT = 4;

/** The list as wrong usage, whose details it is in. @throws As `remoteSubject` for networks and hubs that fail. */
export async function choiceError(
  repository: HubRepository,
  models: readonly HubModel[],
  device: PlannedDevice,
  budget: ByteSize | null,
): Promise<UsageError> {
  const offers: ModelOffer[] = [];
  for (let at = 0; at < models.length; at += IN_FLIGHT) {
    const group = models.slice(at, at + IN_FLIGHT);
    const isLookedAt = at < MOST_HEADERS;
    offers.push(
      ...(await Promise.all(
        group.map((model) => (isLookedAt ? offerOf(repository, model, device, budget) : unseen(model))),
      )),
    );
  }
  const rows = offers.map((offer) => [offer.file, formatBytes(offer.bytes), memoryText(offer), speedText(offer)]);
  const message = [
    `${repository.name} has ${models.length} models; name the one that you want: flashwick pull ${repository.name}/<file>`,
    "",
    table([["file", "size", "DRAM at least", `tokens/s on ${device.profile.name}`], ...rows]),
  ].join("\n");
  return new UsageError(message, { repository: repository.name, revision: repository.commit, files: offers });
}

async function offerOf(
  repository: HubRepository,
  model: HubModel,
  device: PlannedDevice,
  budget: ByteSize | null,
): Promise<ModelOffer> {
  try {
    const { fits, smallestBudgetBytes, tokensPerSec } = planForMachine(
      await remoteSubject(repository, model, {}),
      device,
      budget,
    );
    return { file: model.path, bytes: model.sizeBytes, fits, smallestBudgetBytes, tokensPerSec, refusal: null };
  } catch (error) {
    // What a file is says nothing of the others; a network that fails does.
    if (!isFlashwickError(error) || !/^(FORMAT|UNSUPPORTED|INTEGRITY|INPUT)_/.test(error.code)) throw error;
    return { ...unseen(model), refusal: error.message };
  }
}

function unseen({ path, sizeBytes }: HubModel): ModelOffer {
  return { file: path, bytes: sizeBytes, fits: null, smallestBudgetBytes: null, tokensPerSec: null, refusal: null };
}

function memoryText({ smallestBudgetBytes, refusal }: ModelOffer): string {
  if (smallestBudgetBytes !== null) return formatBytes(smallestBudgetBytes);
  return refusal === null ? "?" : "does not run here";
}

function speedText({ tokensPerSec, fits }: ModelOffer): string {
  if (tokensPerSec !== null) return figure(tokensPerSec);
  return fits === false ? "does not fit" : "";
}
