/** The device that --device or --preset names. */
import { type DeviceProfile, devicePreset } from "@flashwick/cost-model";
import { UsageError } from "./failure.js";
import { readDeviceProfile } from "./json-file.js";

export interface DeviceFlags {
  /** A file that `flashwick profile -o` has written. */
  readonly device?: string;
  readonly preset?: string;
}

/**
 * @returns Null if neither flag is given.
 * @throws {UsageError} for both. {InputError} naming file and field, or the presets there are.
 */
export async function namedDevice({ device, preset }: DeviceFlags): Promise<DeviceProfile | null> {
  if (device !== undefined && preset !== undefined) {
    throw new UsageError("expected one of --device and --preset, found both");
  }
  if (preset !== undefined) return devicePreset(preset);
  return device === undefined ? null : await readDeviceProfile(device);
}
