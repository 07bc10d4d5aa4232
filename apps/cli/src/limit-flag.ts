/** `--limit`: whether a run is held against what its machine can do at most, measured right after it. */
import { formatBytes } from "@flashwick/core";
import type { FinishedRun, Model } from "@flashwick/runtime";
import { LIMIT_FILE_BYTES, measureLimit } from "@flashwick/runtime/node";
import { type Command, Option } from "commander";

const WISHES = ["auto", "on", "off"] as const;

export interface LimitFlag {
  readonly limit: (typeof WISHES)[number];
}

export function addLimitFlag(command: Command): Command {
  return command.addOption(
    new Option(
      "--limit <when>",
      `measure what DRAM and flash give at most, 1.5 s; auto: for files of at least ${formatBytes(LIMIT_FILE_BYTES)}, since smaller ones lie in caches`,
    )
      .choices(WISHES)
      .default("auto"),
  );
}

/** The limit of the run that `model` has just made; null where nobody wants it, or there is none. @throws As `measureLimit`. */
export async function limitOf(model: Model, { limit }: LimitFlag, run: FinishedRun, signal: AbortSignal) {
  const wanted = limit === "on" || (limit === "auto" && model.header.fileBytes >= LIMIT_FILE_BYTES);
  return wanted ? await measureLimit(model, run, { signal }) : null;
}
