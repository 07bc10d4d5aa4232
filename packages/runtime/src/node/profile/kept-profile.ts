/**
 * Device profiles, measured once and kept: one JSON file for each device in the user's cache folder, beside the tunings of flash-io. Profiles that
 * somebody measured choose settings; brief ones, which runs measure themselves, only predict.
 *
 * What cannot be read, is of another version or was measured by another host is as good as absent. A profile in the wrong place is no
 * error either: predictions are a service, not a condition.
 */
import { readFileSync, statSync } from "node:fs";
import { availableParallelism, cpus, hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type DeviceProfile, parseDeviceProfile } from "@flashwick/cost-model";
import { cacheFolder, keepText } from "@flashwick/flash-io/node";

interface KeptProfile {
  readonly host: string;
  /** ISO 8601. */
  readonly measuredAt: string;
  readonly profile: unknown;
}

/** What it was measured on, and for which files. */
interface KeptBriefProfile extends KeptProfile {
  readonly machine: string;
  /** Where the file lay that was read. */
  readonly folder: string;
  /** Whether only what small files need was measured. */
  readonly isOfSmallFile: boolean;
}

/**
 * The profile that is kept for the device of this path, or null.
 *
 * @param path A file or folder on the device. Returns null where no profile can be trusted.
 */
export function readKeptProfile(path: string, folder = cacheFolder(), host = hostname()): DeviceProfile | null {
  const kept = readKept<KeptProfile>(() => fileOf(path, "profile", folder), host);
  return kept?.profile ?? null;
}

/**
 * Keeps a profile for the device under `path`; who reads the file sees the old or the new one, never half of it.
 *
 * @returns The file, or null where the folder cannot be written: the next run then goes without.
 */
export function keepProfile(
  path: string,
  profile: DeviceProfile,
  measuredAt: Date,
  folder = cacheFolder(),
  host = hostname(),
): string | null {
  return keep(fileOf(path, "profile", folder), { host, measuredAt: measuredAt.toISOString(), profile });
}

/**
 * A brief profile of this machine and of the device under `path`.
 *
 * @param isSmallFile What is to be predicted: a small file's runs, for which every brief profile has figures, or others, which need more of them.
 * @returns Null where none can be trusted.
 */
export function readBriefProfile(
  path: string,
  isSmallFile: boolean,
  folder = cacheFolder(),
  host = hostname(),
): DeviceProfile | null {
  const kept = readKept<KeptBriefProfile>(() => fileOf(path, "brief-profile", folder), host);
  if (kept === null || kept.machine !== machineName() || (kept.isOfSmallFile && !isSmallFile)) return null;
  return kept.profile;
}

/** Keeps a brief profile that was measured with the file, or in the folder, at `path`. @returns As {@link keepProfile}. */
export function keepBriefProfile(
  path: string,
  isSmallFile: boolean,
  profile: DeviceProfile,
  measuredAt: Date,
  folder = cacheFolder(),
  host = hostname(),
): string | null {
  const kept: KeptBriefProfile = {
    host,
    machine: machineName(),
    folder: statSync(path).isDirectory() ? resolve(path) : dirname(resolve(path)),
    isOfSmallFile: isSmallFile,
    measuredAt: measuredAt.toISOString(),
    profile,
  };
  return keep(fileOf(path, "brief-profile", folder), kept);
}

/** Another processor, another number of cores or another Node computes at other rates. */
function machineName(): string {
  return `${cpus()[0]?.model.trim() ?? "unknown processor"} x${availableParallelism()}, Node ${process.version}`;
}

function readKept<Kept extends KeptProfile>(file: () => string, host: string) {
  try {
    const kept = JSON.parse(readFileSync(file(), "utf8")) as Kept;
    return kept.host === host ? { ...kept, profile: parseDeviceProfile(kept.profile, "the kept profile") } : null;
  } catch {
    // Absent, unreadable, of another version: as good as none.
    return null;
  }
}

function keep(file: string, kept: KeptProfile): string | null {
  return keepText(file, `${JSON.stringify(kept, null, 2)}\n`) ? file : null;
}

function fileOf(path: string, kind: "profile" | "brief-profile", folder: string): string {
  return join(folder, `${kind}-${statSync(path).dev}.json`);
}
