/** The profile of a workload beside a model: which experts are read first. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hasExperts, InputError, IoError, unitGrid } from "@flashwick/core";
import { decodeProfile, type UnitProfile } from "@flashwick/dram-cache";
import type { ModelHeader } from "@flashwick/flash-format";

/** Where a model's profile is looked for: `dir/olmoe.gguf` -> `dir/olmoe.hot.json`. */
export function hotExpertsPath(modelPath: string): string {
  return `${modelPath.replace(/\.gguf$/, "")}.hot.json`;
}

/**
 * @param wanted A file; `auto`: the one beside the model, if there is one and the model is a mixture; null: none.
 * @throws {IoError} `IO_NOT_FOUND`, `IO_READ`. {InputError} `INPUT_INVALID` for a model without experts. As `decodeProfile`.
 */
export async function readHotExpertsFile(
  modelPath: string,
  { geometry, fingerprint }: Pick<ModelHeader, "geometry" | "fingerprint">,
  wanted: string | null,
): Promise<UnitProfile | undefined> {
  const isAuto = wanted === "auto";
  const path = isAuto ? hotExpertsPath(modelPath) : wanted;
  if (path === null || (isAuto && !(hasExperts(geometry) && existsSync(path)))) return undefined;
  if (!hasExperts(geometry)) {
    throw new InputError(
      "INPUT_INVALID",
      `${path}: ${modelPath} is not a mixture of experts, so it has no hot experts; leave out the profile`,
    );
  }
  const { nLayers, dFf: nUnits } = unitGrid(geometry);
  return decodeProfile(await readText(path), { fingerprint, nLayers, nUnits }, path);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    const message = `${path}: cannot be read (${(cause as Error).message}); flashwick trace hot writes profiles of experts`;
    throw new IoError(missing ? "IO_NOT_FOUND" : "IO_READ", message, { cause });
  }
}
