import type { Command, Option } from "commander";
import { describe, expect, it } from "vitest";
import { createProgram } from "./program.js";
import { NO_INPUT } from "./terminal-input.fixture.js";
import { flashwick, flashwickJson } from "./tiny-checkpoint.fixture.js";

const terminal = {
  out: { isTty: false, columns: 100, write: () => {} },
  err: { isTty: false, columns: 100, write: () => {} },
  env: {},
  signal: new AbortController().signal,
  clock: () => 0,
  peakRssBytes: () => 0,
  ...NO_INPUT,
};
const { commands } = await createProgram({ terminal, exitStatus: 0 });
/** Every command, and those within commands, with the words that name it. */
const pages = commands.flatMap((command) => [
  { words: [command.name()], command },
  ...command.commands.map((inner) => ({ words: [command.name(), inner.name()], command: inner })),
]);

describe("help", () => {
  it("lists every command of the contract", () => {
    expect(commands.map((command) => command.name())).toEqual([
      "demo",
      "pull",
      "convert",
      "inspect",
      "verify",
      "train",
      "predictor",
      "calibrate",
      "run",
      "chat",
      "serve",
      "score",
      "tokenize",
      "eval",
      "profile",
      "plan",
      "trace",
      "bench",
      "doctor",
    ]);
  });
  it("lists every measurement of bench", () => {
    expect(commands.find((command) => command.name() === "bench")?.commands.map((command) => command.name())).toEqual([
      "ladder",
      "read",
      "kernels",
      "peers",
      "memory",
    ]);
  });
  it.each(pages.map(({ words }) => [words.join(" "), words] as const))(
    "of %s shows usage, flags and an example",
    async (name, words) => {
      const { status, out, err } = await flashwick([...words, "--help"]);
      expect([status, err]).toEqual([0, ""]);
      expect(out).toContain(`Usage: flashwick ${name}`);
      expect(out).toContain(`Example:\n  flashwick ${name}`);
      expect(out).toContain("--json");
    },
  );
  it.each(
    pages.flatMap(({ words, command }) =>
      command.options
        .filter(({ long }) => long !== "--version")
        .map((option) => [`${words.join(" ")} ${option.flags}`, option] as const),
    ),
  )("says the default of %s", (_, option) => {
    expect(option.defaultValue !== undefined || /\b(no )?default\b/.test(option.description)).toBe(true);
  });
  it("says the units of sizes, counts and levels", async () => {
    const { out } = await flashwick(["run", "--help"]);
    const text = out.replace(/\s+/g, " ");
    expect(text).toContain("bytes, KiB, MiB, GiB, or % of the model file");
    expect(text).toContain("a logit");
    expect(text).toContain("neurons of the last n tokens");
  });
  it("prints the version, of every command", async () => {
    const { out, status } = await flashwick(["--version"]);
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(status).toBe(0);
    expect((await flashwick(["run", "--version"])).out).toBe(out);
  });
});

const wrong: readonly (readonly [string, readonly string[]])[] = [
  ["a flag without a command", ["--no-such-flag"]],
  ["an unknown command", ["runn"]],
  ["an unknown flag", ["run", "m.gguf", "--prompt", "x", "--nonsense"]],
  ["a missing argument", ["inspect"]],
  ["an argument too many", ["verify", "a.gguf", "b.gguf"]],
  ["pull of nothing", ["pull"]],
  ["pull of an address in a browser", ["pull", "https://huggingface.co/a/b"]],
  ["pull for two devices", ["pull", "a/b", "--preset", "sata-ssd", "--device", "d.json"]],
  ["convert without output", ["convert", "dir"]],
  ["an unknown dtype", ["convert", "dir", "-o", "x", "--dtype", "q5"]],
  ["an unknown layout", ["convert", "dir", "-o", "x", "--layout", "sorted"]],
  ["a stride that is no size", ["convert", "dir", "-o", "x", "--stride", "wide"]],
  ["train without text", ["train", "m.gguf", "-o", "x"]],
  ["a rank of zero", ["train", "m.gguf", "--text", "t", "-o", "x", "--rank", "0"]],
  ["layers that run backwards", ["train", "m.gguf", "--text", "t", "-o", "x", "--layers", "3-1"]],
  ["a run without prompt", ["run", "m.gguf"]],
  ["two prompts", ["run", "m.gguf", "--prompt", "x", "--tokens", "1"]],
  ["dense and predicted at once", ["run", "m.gguf", "--prompt", "x", "--dense", "--predictor", "p"]],
  ["dense and oracle at once", ["run", "m.gguf", "--prompt", "x", "--dense", "--oracle"]],
  ["oracle and predicted at once", ["run", "m.gguf", "--prompt", "x", "--oracle", "--predictor", "p"]],
  ["a budget in MB", ["run", "m.gguf", "--prompt", "x", "--dram-budget", "8MB"]],
  ["a percentage for a gap, which meant 0 (run)", ["run", "m.gguf", "--prompt", "x", "--merge-gap", "10%"]],
  ["a percentage for a gap, which meant 0 (plan)", ["plan", "opt-6.7b", "--preset", "sata-ssd", "--merge-gap", "10%"]],
  ["a percentage for a gap, which meant 0 (trace)", ["trace", "simulate", "t", "--merge-gap", "10%", "--slots", "8"]],
  ["a negative budget", ["run", "m.gguf", "--prompt", "x", "--dram-budget", "-1"]],
  ["a threshold that is no number", ["run", "m.gguf", "--prompt", "x", "--threshold", "high"]],
  ["a window of no token", ["run", "m.gguf", "--prompt", "x", "--window", "0"]],
  ["an unknown policy", ["run", "m.gguf", "--prompt", "x", "--policy", "random"]],
  ["an unknown backend", ["run", "m.gguf", "--prompt", "x", "--backend", "cuda"]],
  ["an unknown precision", ["run", "m.gguf", "--prompt", "x", "--kv-precision", "int4"]],
  ["a number of tokens that is none", ["run", "m.gguf", "--prompt", "x", "--max-tokens", "many"]],
  ["tokens that are none", ["run", "m.gguf", "--tokens", "1,x"]],
  ["a server without a model", ["serve"]],
  ["a port beyond all ports", ["serve", "m.gguf", "--port", "65536"]],
  ["a server for every machine, without a key", ["serve", "m.gguf", "--host", "0.0.0.0"]],
  ["an empty API key", ["serve", "m.gguf", "--api-key", ""]],
  ["an API key with a space", ["serve", "m.gguf", "--api-key", "one two"]],
  ["a rate of no request", ["serve", "m.gguf", "--rate", "0"]],
  ["no sequence", ["serve", "m.gguf", "--max-sequences", "0"]],
  ["a prefix cache of half the model, which is no size of a folder", ["serve", "m.gguf", "--prefix-cache-size", "50%"]],
  ["a replica without a name", ["serve", "m.gguf", "--replica-id", ""]],
  ["a score of nothing", ["score", "m.gguf"]],
  ["a score of two things", ["score", "m.gguf", "--text", "x", "--tokens", "1"]],
  ["an evaluation without text", ["eval", "m.gguf"]],
  ["a window of one token", ["eval", "m.gguf", "--text", "t", "--window-tokens", "1"]],
  ["a measurement of nothing", ["bench"]],
  ["a ladder without model", ["bench", "ladder"]],
  ["reads of no file", ["bench", "read"]],
  ["reads of no size", ["bench", "read", "f", "--sizes", "4,,8"]],
  ["a size with its unit, where KiB are understood", ["bench", "read", "f", "--sizes", "4KiB"]],
  ["more reads in flight than there are threads for", ["bench", "read", "f", "--depths", "8,512"]],
  ["a turn of no time", ["bench", "read", "f", "--seconds", "0"]],
  ["no turns", ["bench", "read", "f", "--turns", "0"]],
  ["kernels on no thread", ["bench", "kernels", "--threads", "0"]],
  ["kernels over no weights", ["bench", "kernels", "--mib", "0"]],
  ["kernels of a file", ["bench", "kernels", "m.gguf"]],
  ["a demo with an unreadable budget", ["demo", "--budget", "half"]],
  ["lossless and dense at once", ["run", "m.gguf", "--prompt", "x", "--lossless", "--dense"]],
  ["lossless and other drafts at once", ["run", "m.gguf", "--prompt", "x", "--lossless", "--speculate", "lookup"]],
  ["drafts of a model without its file", ["run", "m.gguf", "--prompt", "x", "--speculate", "draft:"]],
  ["a chat with itself", ["chat"]],
  ["a chat in no precision", ["chat", "m.gguf", "--kv-precision", "f8"]],
  ["ids of nothing", ["tokenize", "m.gguf"]],
  ["ids of a text and of a file", ["tokenize", "m.gguf", "--text", "x", "--file", "y"]],
  ["a plan on two devices", ["plan", "opt-6.7b", "--device", "d.json", "--preset", "sata-ssd"]],
  ["a plan in a budget that is none", ["plan", "opt-6.7b", "--dram-budget", "lots"]],
  ["a profile on no thread", ["profile", "--threads", "0"]],
  ["a trace of nothing", ["trace"]],
  ["a trace that is not recorded anywhere", ["trace", "record", "m.gguf", "--text", "t"]],
  ["a simulation without slots", ["trace", "simulate", "t", "--slots", "none"]],
  ["a predictor of nothing", ["predictor"]],
  ["a calibration without text", ["calibrate", "m.gguf"]],
  ["doctors of two folders", ["doctor", "a", "b"]],
];

describe("wrong usage", () => {
  it.each(wrong)("exits with 2 for %s", async (_, argv) => {
    const { status, out, err } = await flashwick(argv);
    expect(status).toBe(2);
    expect(out).toBe("");
    expect(err).toContain("flashwick: ");
    expect(err).not.toMatch(/\n\s+at /);
  });
  it.each(wrong)("gives one JSON document for %s with --json", async (_, argv) => {
    const { status, document } = await flashwickJson(argv);
    expect(status).toBe(2);
    expect(document.error.code).toBe("USAGE");
    expect(document.error.message).not.toBe("");
  });
});

/** A value that some options take, and words that none does. */
const SAMPLES = ["1", "8MiB", "1,2", "0-1", "auto", "0.5", "lookup"];
const UNREADABLE = "?";
const BAD_SIZES = ["8MB", "-1", "1e9", "12 parsecs", ""];
/** Options with a parser that takes any text, or any but an empty one. */
const OF_TEXT = ["chat --message", "run --stop", "serve --api-key", "serve --host", "serve --replica-id"];

function takes(option: Option, text: string): boolean {
  try {
    option.parseArg?.(text, undefined);
    return true;
  } catch {
    return false;
  }
}

function nameOf(words: readonly string[], { long }: Option): string {
  return `${words.join(" ")} ${long}`;
}

/** Words for the arguments that a command needs. */
function argumentsOf(command: Command): string[] {
  return command.registeredArguments.filter(({ required }) => required).map(() => "x");
}

/** … and for its flags that must be there. */
function neededBy(command: Command): string[] {
  return [...argumentsOf(command), ...command.options.filter(({ mandatory }) => mandatory).flatMap(given)];
}

/** A flag with a value that it takes. */
function given(option: Option): string[] {
  if (!option.required) return [option.long!];
  const value = option.argChoices?.[0] ?? SAMPLES.find((sample) => takes(option, sample))!;
  return [option.long!, value];
}

const leaves = pages.filter(({ command }) => command.commands.length === 0);
const options = leaves.flatMap(({ words, command }) => command.options.map((option) => ({ words, command, option })));
const parsed = options.filter(({ option }) => option.parseArg !== undefined);

async function refused(argv: readonly string[]): Promise<string> {
  const { status, out, err } = await flashwick(argv);
  expect([status, out], argv.join(" ")).toEqual([2, ""]);
  // Before it, a group's help.
  expect(err).toMatch(/(^|\n)flashwick: .+\n(.*\n)*See flashwick .*--help\n$/);
  return err;
}

describe("every command", () => {
  it("refuses a flag that it does not know, by name", async () => {
    for (const { words, command } of leaves) {
      expect(await refused([...words, ...neededBy(command), "--no-such-flag"])).toContain("--no-such-flag");
    }
  });
  it("refuses to go without the arguments that it needs, and says where they are explained", async () => {
    for (const { words } of leaves.filter(({ command }) => argumentsOf(command).length > 0)) {
      const text = await refused(words);
      expect(text).toMatch(/argument|option/);
      expect(text).toContain(`See flashwick ${words.join(" ")} --help`);
    }
  });
  it("refuses an argument too many", async () => {
    for (const { words, command } of leaves) {
      if (command.registeredArguments.some(({ variadic }) => variadic)) continue;
      const optional = command.registeredArguments.filter(({ required }) => !required).map(() => "x");
      const argv = [...words, "more", ...optional, ...neededBy(command)];
      expect(await refused(argv), words.join(" ")).toContain("too many arguments");
    }
  });
  it("of a group says that it needs a command of its own", async () => {
    for (const { words } of pages.filter(({ command }) => command.commands.length > 0)) {
      await refused(words);
      await refused([...words, "no-such-command"]);
    }
  });
});

describe("every option", () => {
  it("that takes a value refuses to go without it, by name", async () => {
    for (const { words, command, option } of options.filter(({ option }) => option.required)) {
      expect(await refused([...words, ...argumentsOf(command), option.long!])).toContain(option.long);
    }
  });
  it("that is read refuses what cannot be, by name, and says what it expects", async () => {
    const readable = parsed.filter(({ option }) => !takes(option, UNREADABLE));
    const free = parsed.filter(({ option }) => takes(option, UNREADABLE));
    expect(free.map(({ words, option }) => nameOf(words, option)).sort()).toEqual(OF_TEXT);
    for (const { words, command, option } of readable) {
      const text = await refused([...words, ...argumentsOf(command), option.long!, UNREADABLE]);
      expect(text).toContain(option.long);
      expect(text).toMatch(/Expected|Allowed choices/);
    }
  });
  it("that has choices names them", async () => {
    for (const { words, command, option } of options.filter(({ option }) => option.argChoices !== undefined)) {
      const text = await refused([...words, ...argumentsOf(command), option.long!, UNREADABLE]);
      for (const choice of option.argChoices!) expect(text).toContain(choice);
    }
  });
  it.each(BAD_SIZES)("that is a size refuses %j", async (size) => {
    const sizes = parsed.filter(
      ({ option }) => option.argChoices === undefined && takes(option, "8MiB") && !takes(option, UNREADABLE),
    );
    expect(sizes.length).toBeGreaterThan(5);
    for (const { words, command, option } of sizes) {
      expect(await refused([...words, ...argumentsOf(command), option.long!, size])).toContain(option.long);
    }
  });
  it("that conflicts with another says with which", async () => {
    let conflicts = 0;
    for (const { words, command, option } of options) {
      const { conflictsWith } = option as Option & { readonly conflictsWith: readonly string[] };
      for (const other of command.options.filter((one) => conflictsWith.includes(one.attributeName()))) {
        const text = await refused([...words, ...neededBy(command), ...given(option), ...given(other)]);
        expect(text).toContain(other.long);
        conflicts++;
      }
    }
    expect(conflicts).toBeGreaterThan(5);
  });
});

it("without any argument the program says what it is, and how to begin", async () => {
  const { status, out, err } = await flashwick([]);
  expect([status, err]).toEqual([0, ""]);
  expect(out).toContain("larger than memory");
  const beginnings = [...out.matchAll(/^ {2}flashwick (\w+)/gm)].map(([, name]) => name);
  expect(beginnings).toHaveLength(3);
  const names = commands.map((command) => command.name());
  expect(beginnings.filter((name) => !names.includes(name!))).toEqual([]);
});
