import { describe, expect, it } from "vitest";
import { deviceProfile } from "./cost.fixture.js";
import type { DeviceProfile, StreamProfile } from "./device-profile.js";
import { profileFor } from "./first-memory.js";

const MiB = 2 ** 20;
const rate = (bytesPerSec: number) => [{ sizeBytes: MiB, depth: 8, bytesPerSec, spread: null }];

function profile(stream: Partial<StreamProfile>): DeviceProfile {
  const known = deviceProfile({});
  const measured = {
    chunks: rate(3e9),
    firstMemory: null,
    chunkUs: 7,
    shareUnderCompute: 1,
    computeShareUnderReads: 1,
  };
  return { ...known, flash: { ...known.flash, stream: { ...measured, ...stream } } };
}

describe("profileFor", () => {
  const both = profile({ firstMemory: { sizeBytes: 512 * MiB, chunks: rate(1e9) } });

  it("streams a model that lies within the first memory at that memory's rates", () => {
    const { stream } = profileFor(both, 512 * MiB).flash;
    expect(stream?.chunks).toEqual(rate(1e9));
    expect(stream?.chunkUs).toBe(7);
  });
  it("leaves a larger model the rates of what it has beyond", () => {
    expect(profileFor(both, 512 * MiB + 1)).toBe(both);
  });
  it("leaves a profile as it is that knows one memory, or no streams", () => {
    const one = profile({});
    const none = deviceProfile({});
    expect(profileFor(one, MiB)).toBe(one);
    expect(profileFor(none, MiB)).toBe(none);
  });
});
