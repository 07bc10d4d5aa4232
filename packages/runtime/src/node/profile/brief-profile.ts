/** The profile that predictions stand on where nobody has measured one: measured on the side, once. */
import { statSync } from "node:fs";
import type { DeviceProfile } from "@flashwick/cost-model";
import { SMALL_FILE_BYTES } from "../../compute.js";
import { keepBriefProfile, readBriefProfile } from "./kept-profile.js";
import { type MeasureProfileOptions, measureBriefProfile, measureSmallFileProfile } from "./measure-profile.js";

/**
 * The brief profile that is kept for this machine and the device under a path; if there is none, it is measured now and kept.
 *
 * @param options `path`: a model file, which is read and not written; or a folder, where a file of 64 MiB is made and removed again.
 * @throws As `measureProfile`.
 * Cost: nothing where one is kept; else about a second, all cores and 80 MB, for a file under 64 MiB a quarter of that.
 */
export async function briefProfile(
  options: Pick<MeasureProfileOptions, "path" | "onProgress" | "signal">,
): Promise<DeviceProfile> {
  const { path } = options;
  const stat = statSync(path);
  const isSmallFile = stat.isFile() && stat.size < SMALL_FILE_BYTES;
  const kept = readBriefProfile(path, isSmallFile);
  if (kept) return kept;
  const profile = await (isSmallFile ? measureSmallFileProfile : measureBriefProfile)(options);
  keepBriefProfile(path, isSmallFile, profile, new Date());
  return profile;
}
