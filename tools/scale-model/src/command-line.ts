/** The command `scale-model`: options, one JSON document on standard output, exit status 0, 1 for a failure, 2 for wrong usage. */
import { isRecordDType, type OnProgress, RECORD_DTYPES, type RecordDType } from "@flashwick/core";
import { type DemoModel, demoModels } from "@flashwick/demo-models";
import { PRESETS, type TargetSize } from "./geometry-scale.js";
import { parseFlags, runProgram, type Terminal, UsageError } from "./program.js";
import { type ScaleOptions, scaleCheckpoint } from "./scale-checkpoint.js";

const HELP = `Usage: scale-model (--preset 1.3b|6.7b|falcon-7b|llama-2-7b | --d-model N --d-ff N --layers N --heads N) -o <out.gguf>

Makes, from a small trained OPT, Falcon or gated Llama checkpoint and its predictor, a model file of a larger geometry that computes the
same function, and its predictor beside it (<out>.predictor.gguf).

  --preset NAME         1.3b: 24 layers of 2048, 32 heads, d_ff 8192; 6.7b: 32 layers of 4096, 32 heads, d_ff 16384;
                        falcon-7b: 32 layers of 4608, 72 heads over one, d_ff 18432 (4544, 71 and 18176 are no copies);
                        llama-2-7b: 32 layers of 4096, 32 heads, d_ff 11008, gated
  --d-model, --d-ff, --layers, --heads N
                        a size of your own, or a change of the preset; whole multiples of the checkpoint's widths
  -o, --out FILE        the model file
  --dtype TYPE          ${RECORD_DTYPES.join(", ")}; default f16
  --layout LAYOUT       bundled (default) or split
  --checkpoint DIR      default: the demo checkpoint of the preset, or opt-demo
  --predictor FILE      the checkpoint's predictor, or "none"; default: the demo's for the demo checkpoint, else none
  --rank-factor N       copies of each hidden unit of the predictor; default: as makes it 2.4 % of the layers' weights
  --seed N              of the order of neurons; default 0
  --force               replace existing files
  --help
`;

/** @returns The exit status. */
export function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const { stderr } = terminal;
  const run = (options: ScaleOptions) =>
    scaleCheckpoint(stderr.isTTY ? { ...options, onProgress: progressLine(stderr) } : options);
  return runProgram({ name: "scale-model", help: HELP, parse: parseOptions, run }, args, terminal);
}

/**
 * @returns Null if help is asked for.
 * @throws {UsageError}
 */
function parseOptions(args: readonly string[]): ScaleOptions | null {
  const values = parseValues(args);
  if (values.help) return null;
  if (values.out === undefined) throw new UsageError("-o <out.gguf> is missing; see --help");
  const demo = values.checkpoint === undefined ? demoModels[demoOf(values)] : null;
  return {
    checkpointDir: demo?.checkpointDir ?? values.checkpoint!,
    predictorPath: predictorPath(values, demo),
    size: targetSize(values),
    dtype: dtypeOf(values.dtype ?? "f16"),
    layout: layoutOf(values.layout ?? "bundled"),
    outPath: values.out,
    rankFactor: values["rank-factor"] === undefined ? null : integer("rank-factor", values["rank-factor"], 1),
    seed: integer("seed", values.seed ?? "0", 0),
    force: values.force ?? false,
  };
}

type Values = ReturnType<typeof parseValues>;

function parseValues(args: readonly string[]) {
  const string = { type: "string" } as const;
  const options = {
    preset: string,
    "d-model": string,
    "d-ff": string,
    layers: string,
    heads: string,
    out: { type: "string", short: "o" },
    dtype: string,
    layout: string,
    checkpoint: string,
    predictor: string,
    "rank-factor": string,
    seed: string,
    force: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  } as const;
  return parseFlags(args, options);
}

function targetSize(values: Values): TargetSize {
  const preset = values.preset === undefined ? undefined : PRESETS.get(values.preset)?.size;
  if (values.preset !== undefined && preset === undefined) {
    throw new UsageError(`--preset: expected ${[...PRESETS.keys()].join(", ")}, found ${values.preset}`);
  }
  const size = (name: "d-model" | "d-ff" | "layers" | "heads", standard: number | undefined) => {
    const value = values[name];
    if (value !== undefined) return integer(name, value, 1);
    if (standard !== undefined) return standard;
    throw new UsageError(`--${name} is missing: give --preset, or all of --d-model, --d-ff, --layers and --heads`);
  };
  return {
    dModel: size("d-model", preset?.dModel),
    dFf: size("d-ff", preset?.dFf),
    nLayers: size("layers", preset?.nLayers),
    nHeads: size("heads", preset?.nHeads),
  };
}

/** Which demo checkpoint is meant where none is given. */
function demoOf({ preset }: Values): keyof typeof demoModels {
  return (preset === undefined ? undefined : PRESETS.get(preset)?.demo) ?? "opt-demo";
}

function predictorPath({ predictor }: Values, demo: DemoModel | null): string | null {
  if (predictor === "none") return null;
  return predictor ?? demo?.predictorPath ?? null;
}

function dtypeOf(value: string): RecordDType {
  if (isRecordDType(value)) return value;
  throw new UsageError(`--dtype: expected one of ${RECORD_DTYPES.join(", ")}, found ${value}`);
}

function layoutOf(value: string): "bundled" | "split" {
  if (value === "bundled" || value === "split") return value;
  throw new UsageError(`--layout: expected bundled or split, found ${value}`);
}

function integer(name: string, value: string, least: number): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && Number.isSafeInteger(number) && number >= least) return number;
  throw new UsageError(`--${name}: expected an integer of at least ${least}, found ${value}`);
}

function progressLine(stderr: Terminal["stderr"]): OnProgress {
  return ({ loaded, total, detail }) => {
    stderr.write(`\r\x1b[2K${loaded === total ? "" : `${loaded}/${total} ${detail}`}`);
  };
}
