/**
 * Tunings of devices, measured once and kept: one JSON file per device in the user's cache folder.
 *
 * What cannot be read, is of another version, or was measured by another host on another device is as good as absent. A cache
 * that cannot be written is no error: the next opening measures again.
 */
import { readFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { join } from "node:path";
import type { DeviceTuning } from "./device-tuning.js";
import { keepText } from "./kept-text.js";

const SCHEMA_VERSION = 1;

/** Which device's measurements, of which host, and the folder that keeps them. */
export interface TuningPlace {
  /** Of the file system: `st_dev`. */
  readonly device: string;
  /** Default: this host. */
  readonly host?: string;
  /** Default {@link cacheFolder}. */
  readonly folder?: string;
}

interface KeptTuning {
  readonly schemaVersion: number;
  readonly device: string;
  readonly host: string;
  /** ISO 8601. */
  readonly measuredAt: string;
  readonly tuning: DeviceTuning;
}

/** Where flashwick keeps what it can measure again: `FLASHWICK_CACHE_DIR`, else the user's cache folder of the platform. */
export function cacheFolder(
  env: Readonly<Record<string, string | undefined>> = process.env,
  platform: string = process.platform,
): string {
  if (env.FLASHWICK_CACHE_DIR) return env.FLASHWICK_CACHE_DIR;
  if (platform === "win32") return join(env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local"), "flashwick");
  if (platform === "darwin") return join(homedir(), "Library", "Caches", "flashwick");
  return join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "flashwick");
}

/** The kept tuning of a device; null if there is none to be trusted. */
export function readKeptTuning({
  device,
  host = hostname(),
  folder = cacheFolder(),
}: TuningPlace): DeviceTuning | null {
  try {
    const kept = JSON.parse(readFileSync(fileOf(folder, device), "utf8")) as Partial<KeptTuning> | null;
    const ours = kept?.schemaVersion === SCHEMA_VERSION && kept.device === device && kept.host === host;
    return ours && isTuning(kept.tuning) ? kept.tuning : null;
  } catch {
    // Absent, unreadable or not JSON: measured again, and written over.
    return null;
  }
}

/** Keeps a tuning; a reader of the file sees the old or the new one, never half of it. */
export function keepTuning(
  { device, host = hostname(), folder = cacheFolder() }: TuningPlace,
  tuning: DeviceTuning,
  measuredAt: Date,
): void {
  const path = fileOf(folder, device);
  const kept: KeptTuning = {
    schemaVersion: SCHEMA_VERSION,
    device,
    host,
    measuredAt: measuredAt.toISOString(),
    tuning,
  };
  keepText(path, `${JSON.stringify(kept, null, 2)}\n`);
}

function fileOf(folder: string, device: string): string {
  return join(folder, `device-${device}.json`);
}

/** The two figures that are used must be sane: someone may have edited them. */
function isTuning(tuning: DeviceTuning | undefined): tuning is DeviceTuning {
  return (
    Number.isInteger(tuning?.readers) &&
    tuning!.readers >= 1 &&
    tuning!.readers <= 256 &&
    Number.isInteger(tuning!.mergeGapBytes) &&
    tuning!.mergeGapBytes >= 0 &&
    tuning!.mergeGapBytes <= 2 ** 20
  );
}
