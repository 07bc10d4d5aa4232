/** The command line of a script: words, `--flag value`, `--switch`, and what follows `--` for the program that it starts. */
import { parseArgs } from "node:util";

/**
 * @param {object} script
 * @param {string} script.usage  What is printed, behind `usage: `, where a word or a needed flag is missing; the process then ends with status 2.
 * @param {number} [script.words]  How many words there must be at least. Default: none may be there.
 * @param {Record<string, string | false | null>} [script.flags]  Each flag's default: a text; null for none; false for a switch.
 * @param {readonly string[]} [script.needed]  Flags that must be given.
 * @param {readonly string[]} [args]  Default: the process's own.
 * @returns {{ words: string[], flags: Record<string, any>, more: string[] }}
 */
export function scriptArguments({ usage, words, flags = {}, needed = [] }, args = process.argv.slice(2)) {
  const split = args.indexOf("--");
  const own = split < 0 ? args : args.slice(0, split);
  const options = Object.fromEntries(Object.entries(flags).map(([name, value]) => [name, optionOf(value)]));
  const { values, positionals } = parseArgs({ args: [...own], allowPositionals: words !== undefined, options });
  if (positionals.length < (words ?? 0) || needed.some((name) => !values[name])) {
    console.error(`usage: ${usage}`);
    process.exit(2);
  }
  return { words: positionals, flags: values, more: split < 0 ? [] : args.slice(split + 1) };
}

/** @param {string | false | null} value @returns {import("node:util").ParseArgsOptionDescriptor} */
function optionOf(value) {
  if (value === false) return { type: "boolean", default: false };
  return value === null ? { type: "string" } : { type: "string", default: value };
}
