/**
 * Memory that reads land in. A process is given pieces of physical memory first and long stretches later, and a virtual disk takes time for each piece
 * (docs/results/landing-memory.md): a small model streams more slowly than a large one.
 */
import type { DeviceProfile } from "./device-profile.js";

/** The profile as it holds for a model that takes so many bytes of DRAM in all. */
export function profileFor(profile: DeviceProfile, dramBytes: number): DeviceProfile {
  const { stream } = profile.flash;
  const first = stream?.firstMemory;
  if (!stream || !first || dramBytes > first.sizeBytes) return profile;
  return { ...profile, flash: { ...profile.flash, stream: { ...stream, chunks: first.chunks } } };
}
