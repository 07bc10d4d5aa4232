/**
 * How long a device serves one read, and how much faster when fewer are in flight.
 *
 * A read of size s in flight with n − 1 others takes t(s, n) = n · s / T[s, n]: all of them share the device. Reads are counted in
 * milliseconds at full depth, t(s, depth); with n in flight they go on faster by speedup(n) = t(s, depth) / t(s, n). So throughput at full
 * depth is the profile's T[s, depth], and a read alone takes T[s, 1].
 */
import type { FlashProfile } from "../device-profile.js";
import { readBytesPerSec } from "../read-time.js";

export interface ReadService {
  /** Of one read among a full queue. */
  readonly fullMs: number;
  /** By the number in flight, `[depth + 1]`; at `depth` it is 1. */
  readonly speedup: Float64Array;
}

/** Speedups are kept for sizes of so many steps an octave: at most half a step, 1 %, beside the true size. */
const STEPS_PER_OCTAVE = 32;

export class ReadServices {
  readonly #flash: FlashProfile;
  readonly #depth: number;
  readonly #bySize = new Map<number, ReadService>();
  readonly #speedupByStep = new Map<number, Float64Array>();
  readonly #stream: Float64Array;

  constructor(flash: FlashProfile, depth: number) {
    this.#flash = flash;
    this.#depth = depth;
    // A stream is one long read in pieces: it has the device's full rate however few of them are in flight.
    this.#stream = Float64Array.from({ length: depth + 1 }, (_, n) => depth / Math.max(1, n));
  }

  /** Of random reads of one size. */
  random(sizeBytes: number): ReadService {
    let service = this.#bySize.get(sizeBytes);
    if (service === undefined) {
      service = { fullMs: this.#serviceMs(sizeBytes, this.#depth), speedup: this.#speedup(sizeBytes) };
      if (this.#bySize.size >= MOST_SIZES) this.#bySize.clear();
      this.#bySize.set(sizeBytes, service);
    }
    return service;
  }

  /** Of the pieces of a stream. */
  stream(sizeBytes: number): ReadService {
    const fullMs = (1000 * this.#depth * sizeBytes) / this.#flash.sequentialBytesPerSec;
    return { fullMs, speedup: this.#stream };
  }

  #serviceMs(sizeBytes: number, inFlight: number): number {
    return (1000 * inFlight * sizeBytes) / readBytesPerSec(this.#flash, sizeBytes, inFlight);
  }

  #speedup(sizeBytes: number): Float64Array {
    const step = Math.round(Math.log2(sizeBytes) * STEPS_PER_OCTAVE);
    let speedup = this.#speedupByStep.get(step);
    if (speedup === undefined) {
      const size = 2 ** (step / STEPS_PER_OCTAVE);
      const full = this.#serviceMs(size, this.#depth);
      speedup = Float64Array.from({ length: this.#depth + 1 }, (_, n) => full / this.#serviceMs(size, Math.max(1, n)));
      this.#speedupByStep.set(step, speedup);
    }
    return speedup;
  }
}

/** Mean sizes differ from token to token: what is kept must end somewhere. */
const MOST_SIZES = 65536;
