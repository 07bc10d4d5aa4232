/** Every command that writes a file which somebody keeps. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type CrashInputs, FLASHWICK, fillHubCache, TRAINING } from "./crash-inputs.js";
import { ROOT } from "./program-run.js";
import type { Scenario } from "./scenario.js";

const FORCE = ["--force"];
const PARTIAL = /\.partial(\.journal)?$/;
const KEPT_FILES = join(ROOT, "tools/reliability/src/crashes/kept-files.mjs");

type Words = (inputs: CrashInputs) => readonly string[];

/** A command with `-o <output>`. */
function writes(name: string, output: string, words: Words, more: Partial<Scenario> = {}): Scenario {
  return {
    name,
    command: (work, inputs) => [FLASHWICK, ...words(inputs), "-o", join(work, output), "--json"],
    outputs: [output],
    force: FORCE,
    ...more,
  };
}

/** A repository into the folder. */
function pulls(name: string, repository: string, outputs: readonly string[], more: Partial<Scenario> = {}): Scenario {
  return {
    name,
    command: (work) => [FLASHWICK, "pull", repository, "-o", join(work, "models"), "--preset", "nvme-pcie4", "--json"],
    outputs: outputs.map((path) => `models/${path}`),
    force: FORCE,
    keeps: PARTIAL,
    ...more,
  };
}

const SPLIT = [1, 2, 3].map((part) => `falcon-7b-0000${part}-of-00003.gguf`);

export const SCENARIOS: readonly Scenario[] = [
  writes("convert", "out.gguf", ({ checkpoint }) => ["convert", checkpoint, "--dtype", "f16"], {
    rival: ["--dtype", "int8"],
  }),
  writes("convert --dtype int8", "out.gguf", ({ checkpoint }) => ["convert", checkpoint, "--dtype", "int8"]),
  writes("convert --layout split", "out.gguf", ({ checkpoint }) => ["convert", checkpoint, "--layout", "split"]),
  writes("convert file.gguf", "out.gguf", ({ gguf }) => ["convert", gguf], { rival: ["--dtype", "f16"] }),
  writes(
    "convert --prune --predictor",
    "out.gguf",
    ({ checkpoint, trace, predictor }) => [
      ...["convert", checkpoint, "--prune", trace, "--prune-share", "0.2", "--predictor", predictor],
    ],
    { outputs: ["out.gguf", "out.predictor.gguf"] },
  ),
  writes(
    "convert --placement --predictor",
    "out.gguf",
    ({ checkpoint, trace, predictor }) => [
      ...["convert", checkpoint, "--placement", trace, "--predictor", predictor, "--preset", "nvme-pcie4"],
    ],
    { outputs: ["out.gguf", "out.predictor.gguf"] },
  ),
  pulls("pull", "tiny/one", ["falcon-7b.gguf"]),
  pulls("pull of a split file", "tiny/split", SPLIT),
  pulls("pull of a checkpoint", "tiny/opt", ["opt/config.json", "opt/tokenizer.json"]),
  pulls("pull from the hub's cache", "tiny/split", SPLIT, {
    env: (work) => ({ HF_HOME: join(work, "hf") }),
    prepare: (work, inputs) => fillHubCache(join(work, "hf"), inputs),
  }),
  writes("train", "out.gguf", ({ model, text }) => ["train", model, "--text", text, ...TRAINING], {
    rival: ["--seed", "1"],
    resume: ["--resume"],
    keeps: /^\.out\.gguf\.training/,
  }),
  writes(
    "calibrate",
    "out.gguf",
    ({ model, text, predictor }) => [
      ...["calibrate", model, "--text", text, "--predictor", predictor, "--perplexity", "0.5", "--max-windows", "1"],
    ],
    { rival: ["--perplexity", "0.01"] },
  ),
  writes(
    "predictor import",
    "out.gguf",
    ({ model, text, weights }) => [
      ...["predictor", "import", model, "--text", text, "--from", weights, "--dtype", "f32", "--max-windows", "1"],
    ],
    { rival: ["--dtype", "f16"] },
  ),
  writes("predictor merge", "out.gguf", ({ predictor }) => ["predictor", "merge", predictor]),
  writes("predictor export", "out.safetensors", ({ predictor }) => ["predictor", "export", predictor]),
  writes(
    "trace record",
    "out.trace",
    ({ model, text }) => [
      ...["trace", "record", model, "--text", text, "--tokens", "64", "--window-tokens", "64", "--oracle"],
    ],
    { rival: ["--tokens", "128"] },
  ),
  writes("trace hot", "out.hot.json", ({ mixture, mixtureTrace }) => [
    ...["trace", "hot", mixtureTrace, "--model", mixture],
  ]),
  {
    name: "verify --write",
    command: (work) => [FLASHWICK, "verify", join(work, "olmoe.gguf"), "--write", "--json"],
    prepare: (work, { gguf }) => copyFileSync(gguf, join(work, basename(gguf))),
    outputs: ["olmoe.gguf.crc32c.gguf"],
    force: FORCE,
  },
  {
    name: "kept prefixes",
    command: (work) => [KEPT_FILES, "prefixes", join(work, "prefixes")],
    prepare: (work) => {
      mkdirSync(join(work, "prefixes"));
      writeFileSync(join(work, "prefixes", `${"f".repeat(64)}.kv`), new Uint8Array(20_016));
      ageFiles(join(work, "prefixes"), /kv$/, 100);
    },
    outputs: [..."abcde"].map((letter) => `prefixes/${letter.repeat(64)}.kv`),
    force: null,
    // What a killed process leaves is swept after an hour.
    settle: (work) => ageFiles(join(work, "prefixes"), /tmp$/, 7200),
    isChecked: true,
    isOptional: true,
  },
  {
    name: "kept profile",
    command: (work) => [KEPT_FILES, "profile", join(work, "cache")],
    prepare: (work) => mkdirSync(join(work, "cache")),
    // Named by the device that the folder lies on.
    outputs: [`cache/profile-${statSync(tmpdir()).dev}.json`],
    force: null,
    isOptional: true,
  },
  {
    name: "kept tuning",
    command: (work) => [KEPT_FILES, "tuning", join(work, "cache")],
    outputs: ["cache/device-1.json"],
    force: null,
    isOptional: true,
  },
];

function ageFiles(folder: string, names: RegExp, seconds: number): void {
  const then = Date.now() / 1000 - seconds;
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => names.test(name)) : [];
  for (const name of files) utimesSync(join(folder, name), then, then);
}
