/** The command `made-mixture`: options, one JSON document on standard output, exit status 0, 1 for a failure, 2 for wrong usage. */
import { parseArgs } from "node:util";
import { isFlashwickError } from "@flashwick/core";
import { mixtureDemo } from "@flashwick/demo-models";
import type { Terminal } from "../command-line.js";
import { type MixtureOptions, makeMixture } from "./made-mixture.js";
import { MIXTURE_PRESETS } from "./mixture-size.js";

const HELP = `Usage: made-mixture --preset ${[...MIXTURE_PRESETS.keys()].join("|")} -o <out.gguf>

Makes, from the trained demo mixture, a GGUF file of a larger one as llama.cpp writes it, with the demo's routing.

  --preset NAME     olmoe-1b-7b 4.0 GB, qwen3-30b-a3b 17 GB, gpt-oss-20b 12 GB; the small ones are for tests
  -o, --out FILE    the model file
  --dtype TYPE      q4_0 (default; embedding and head Q8_0) or f32
  --checkpoint DIR  default: the demo
  --seed N          of the order of experts; default 0
  --force           replace an existing file
  --help
`;

class UsageError extends Error {}

/** @returns The exit status. */
export async function main(args: readonly string[], { stdout, stderr }: Terminal): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === null) {
      stdout.write(HELP);
      return 0;
    }
    const startMs = performance.now();
    const result = await makeMixture(options);
    const seconds = Number(((performance.now() - startMs) / 1000).toFixed(1));
    const peakRssBytes = process.resourceUsage().maxRSS * 1024;
    stdout.write(`${JSON.stringify({ ...result, seconds, peakRssBytes })}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError) && !isFlashwickError(error)) throw error;
    stderr.write(`made-mixture: ${error.message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** @returns Null if help is asked for. @throws {UsageError} */
function parseOptions(args: readonly string[]): MixtureOptions | null {
  const values = parseValues(args);
  if (values.help) return null;
  const target = MIXTURE_PRESETS.get(values.preset ?? "");
  if (!target)
    throw new UsageError(`--preset: expected ${[...MIXTURE_PRESETS.keys()].join(", ")}, found ${values.preset}`);
  if (values.out === undefined) throw new UsageError("-o <out.gguf> is missing; see --help");
  const { dtype = "q4_0", seed = "0" } = values;
  if (dtype !== "q4_0" && dtype !== "f32") throw new UsageError(`--dtype: expected q4_0 or f32, found ${dtype}`);
  if (!/^\d{1,9}$/.test(seed)) throw new UsageError(`--seed: expected an integer of at least 0, found ${seed}`);
  const checkpointDir = values.checkpoint ?? mixtureDemo.checkpointDir;
  return { checkpointDir, target, outPath: values.out, dtype, seed: Number(seed), force: values.force ?? false };
}

function parseValues(args: readonly string[]) {
  const string = { type: "string" } as const;
  const options = {
    ...{ preset: string, dtype: string, checkpoint: string, seed: string },
    out: { type: "string", short: "o" },
    force: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  } as const;
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (cause) {
    throw new UsageError(`${(cause as Error).message}; see --help`);
  }
}
