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
    ]);
  });
  it("lists every measurement of bench", () => {
    expect(commands.at(-1)?.commands.map((command) => command.name())).toEqual([
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
  ["no command", []],
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
