/**
 * Device profiles, measured once and kept: one JSON file for each device in the user's cache folder, beside the tunings of flash-io.
 *
 * What cannot be read, is of another version or was measured by another host is as good as absent. A profile in the wrong place is no
 * error either: predictions are a service, not a condition.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type DeviceProfile, parseDeviceProfile } from "@flashwick/cost-model";
import { cacheFolder } from "@flashwick/flash-io/node";

interface KeptProfile {
  readonly host: string;
  /** ISO 8601. */
  readonly measuredAt: string;
  readonly profile: unknown;
}

/** @param path A file or folder on the device. Returns null where no profile can be trusted. */
export function readKeptProfile(path: string, folder = cacheFolder(), host = hostname()): DeviceProfile | null {
  try {
    const kept = JSON.parse(readFileSync(fileOf(path, folder), "utf8")) as KeptProfile;
    return kept.host === host ? parseDeviceProfile(kept.profile, "the kept profile") : null;
  } catch {
    // Absent, unreadable, of another version: as good as none.
    return null;
  }
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
  const file = fileOf(path, folder);
  const temporary = `${file}.${process.pid}.tmp`;
  const kept: KeptProfile = { host, measuredAt: measuredAt.toISOString(), profile };
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(temporary, `${JSON.stringify(kept, null, 2)}\n`);
    renameSync(temporary, file);
    return file;
  } catch {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // Where the folder is none, there is nothing to remove.
    }
    return null;
  }
}

function fileOf(path: string, folder: string): string {
  return join(folder, `profile-${statSync(path).dev}.json`);
}
