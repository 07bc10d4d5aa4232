/** The command `made-mixture`: options, one JSON document on standard output, exit status 0, 1 for a failure, 2 for wrong usage. */
import { mixtureDemo } from "@flashwick/demo-models";
import { parseFlags, runProgram, type Terminal, UsageError } from "../program.js";
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

/** @returns The exit status. */
export function main(args: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram({ name: "made-mixture", help: HELP, parse: parseOptions, run: makeMixture }, args, terminal);
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
  return parseFlags(args, options);
}
