/** A checkpoint on a hub as conversion sees a folder: what a model will need is read from its config.json, before its weights are fetched. */
import { IoError } from "@flashwick/core";
import type { CheckpointFolder } from "@flashwick/flash-format/convert";
import { type HubModel, lastPart } from "./hub-models.js";
import type { HubRepository } from "./hub-repository.js";

/**
 * The files of a checkpoint on a hub, which are read where they are.
 *
 * @param model A checkpoint of the repository.
 */
export function hubFolder(repository: HubRepository, model: HubModel): CheckpointFolder {
  const byName = new Map(model.files.map((file) => [lastPart(file.path), file]));
  const find = (fileName: string) => {
    const file = byName.get(fileName);
    if (file) return file;
    throw new IoError(
      "IO_NOT_FOUND",
      `${repository.name}: there is no file ${fileName} in ${model.path || "its root"}`,
    );
  };
  return {
    name: repository.name,
    fileNames: [...byName.keys()],
    open: async (fileName) => await repository.open(find(fileName)),
    identify: async (fileName) => `${find(fileName).content.kind} ${find(fileName).content.hex}`,
  };
}
