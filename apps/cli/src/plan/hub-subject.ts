/** A model on a hub, to plan for: its header is read over the network, and nothing else of it. */
import { sidecarPath } from "@flashwick/flash-format";
import { readCheckpointConfig } from "@flashwick/flash-format/convert";
import { findModels, type HubModel, type HubRepository, hubFolder } from "@flashwick/hub";
import { UsageError } from "../failure.js";
import { hubAddress, openHubRepository } from "../hub-access.js";
import type { HubFlags } from "../hub-flags.js";
import type { Report } from "../report.js";
import { checkpointSubject, type PlanSubject, type SubjectOptions, sourceSubject } from "./plan-subject.js";

/**
 * @param what A file of a repository.
 * @throws As `openHubRepository`, `findModels` and `openSubject`. {UsageError} for what is no address.
 */
export async function hubSubject(
  what: string,
  flags: SubjectOptions & HubFlags,
  { terminal }: Report,
): Promise<PlanSubject> {
  const { repository: name, path } = hubAddress(what);
  const repository = await openHubRepository(name, flags, terminal);
  const [model, ...others] = findModels(repository, path);
  if (others.length > 0) throw new UsageError(`${what}: expected one model, found ${others.length + 1}; name its file`);
  return await remoteSubject(repository, model!, flags);
}

/** @throws As `openSubject`, `HubRepository.open`. Cost: the bytes of the header, or of config.json. */
export async function remoteSubject(
  repository: HubRepository,
  model: HubModel,
  options: SubjectOptions,
): Promise<PlanSubject> {
  const name = model.path === "" ? repository.name : `${repository.name}/${model.path}`;
  if (model.kind === "checkpoint") {
    return await checkpointSubject(name, await readCheckpointConfig(hubFolder(repository, model)), options);
  }
  const sidecar = model.files.find(({ path }) => path === sidecarPath(model.path));
  const source = await repository.open(model.files[0]!);
  try {
    const predictor = sidecar && !options.dense ? await repository.open(sidecar) : null;
    return await sourceSubject(name, source, predictor, options).finally(() => predictor?.close());
  } finally {
    await source.close();
  }
}
