/** Which disturbances a case gets: every way to die or fail at every operation, and deaths at any time. */
import { Random } from "@flashwick/core";
import type { Disturbance, Reference } from "./trial.js";

/** What is asked of a run. */
export interface TrialWish {
  readonly kills: boolean;
  readonly errors: boolean;
  /** Deaths at a random time. */
  readonly random: number;
  readonly seed: number;
  /** Only every so many operations. */
  readonly stride: number;
}

const DEATHS = ["before", "half", "after", "power", "power-zeros"] as const;
const NEEDS_SPACE: ReadonlySet<string> = new Set(["write", "mkdir", "copy"]);
const NAMES_A_PATH: ReadonlySet<string> = new Set(["open", "rename", "unlink", "rm", "rmdir", "mkdir", "link", "copy"]);

/** Pure. The same wish and reference give the same disturbances, but for those of random times, which scale with the reference's own. */
export function planTrials({ operations, ms }: Reference, wish: TrialWish): Disturbance[] {
  const random = new Random(wish.seed);
  const atOperations = operations.flatMap(({ kind, hasHalves }, at): Disturbance[] => {
    if (at % wish.stride !== 0 && at !== operations.length - 1) return [];
    const deaths = wish.kills ? DEATHS.filter((mode) => mode !== "half" || hasHalves) : [];
    const errors = wish.errors
      ? (["ENOSPC", "EIO", "EACCES"] as const).filter(
          (code) => code === "EIO" || (code === "ENOSPC" ? NEEDS_SPACE : NAMES_A_PATH).has(kind),
        )
      : [];
    return [...deaths, ...errors].map((mode) => ({ mode, at }));
  });
  const atTimes = Array.from({ length: wish.random }, () => ({
    mode: "random" as const,
    // Before that, a program is still being loaded.
    afterMs: ms * (0.4 + (0.65 * random.below(1000)) / 1000),
  }));
  return [...atOperations, ...atTimes];
}
