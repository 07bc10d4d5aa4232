/** `flashwick bench`: the measurements that results are made from, each beside its ceiling of the same run. */
import type { Command } from "commander";
import { frameCommand } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { benchKernelsCommand } from "./bench-kernels.js";
import { benchLadderCommand } from "./bench-ladder.js";
import { benchMemoryCommand } from "./bench-memory.js";
import { benchPeersCommand } from "./bench-peers.js";
import { benchReadCommand } from "./bench-read.js";

/** `--json` and its like may stand on either side of an inner command's name: that one's actions read the flags of both. */
export function benchCommand(invocation: Invocation): Command {
  return (
    frameCommand({
      name: "bench",
      summary: "Measure: each figure beside its ceiling of the same run.",
      example: "flashwick bench ladder opt-6.7b-f16.gguf --split opt-6.7b-f16-split.gguf --int8 opt-6.7b-int8.gguf",
    })
      .helpCommand(false)
      // What follows a subcommand is the subcommand's: --json among it.
      .enablePositionalOptions()
      .addCommand(benchLadderCommand(invocation))
      .addCommand(benchReadCommand(invocation))
      .addCommand(benchKernelsCommand(invocation))
      .addCommand(benchPeersCommand(invocation))
      .addCommand(benchMemoryCommand(invocation))
  );
}
