/**
 * How many experts of the next layer are worth reading before its router has been asked: as many as flash can bring while it would be idle, and only
 * while guesses come true. Pure.
 *
 * Flash is idle between the last read of one layer and the first of the next: during the last experts' products, and attention. A read that was
 * guessed right costs nothing then; a wrong one pushes out an expert that may be wanted, and if it is still on its way, holds up those that are.
 */
export class LookAheadMeter {
  /** Bytes a millisecond, while reads were in flight. */
  #bytesPerMs = 0;
  /** Milliseconds for which flash has nothing to do, a layer. */
  #idleMs = 0;
  #idleSince: number | null = null;
  /** Share of guesses that came true; believed at first, so that it is tried. */
  #right = 1;
  /** Layers since guesses were given up. */
  #pausedFor = 0;
  #pause = FIRST_PAUSE;

  /** A batch of reads took so long. */
  readsTook(bytes: number, ms: number): void {
    if (ms > 0) this.#bytesPerMs = blend(this.#bytesPerMs, bytes / ms);
  }

  /** Flash has nothing to do from now on. */
  idleFrom(nowMs: number): void {
    this.#idleSince = nowMs;
  }

  /** … until now: the next layer knows what it wants. */
  idleUntil(nowMs: number): void {
    if (this.#idleSince !== null) this.#idleMs = blend(this.#idleMs, nowMs - this.#idleSince);
    this.#idleSince = null;
  }

  /** Of so many experts that were guessed and read, so many were named. */
  guessed(read: number, used: number): void {
    if (read > 0) this.#right = blend(this.#right, used / read);
  }

  /** Experts of `bytes` each that are worth a guess now; 0: none. */
  most(bytes: number): number {
    if (this.#right < LEAST_RIGHT) {
      // Texts change: it is tried again, each time later.
      if (++this.#pausedFor < this.#pause) return 0;
      this.#pausedFor = 0;
      this.#pause *= 2;
      this.#right = LEAST_RIGHT;
    }
    return Math.floor((this.#idleMs * this.#bytesPerMs) / bytes);
  }
}

/** Guesses that come true less often push out more than they bring. */
const LEAST_RIGHT = 0.5;
/** Layers for which none is made then. */
const FIRST_PAUSE = 256;
/** Of the last observation in a mean. */
const WEIGHT = 1 / 16;

function blend(mean: number, value: number): number {
  return mean === 0 ? value : mean + WEIGHT * (value - mean);
}
