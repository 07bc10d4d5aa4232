/** The examples of READMEs as programs in a stranger's project. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { transformSync } from "esbuild";
import { run } from "./command.js";

/**
 * Runs every example of a README, by `node`, in a project that has installed what the README says.
 *
 * @param folder The project; it holds opt-demo.gguf where an example names it.
 * @returns What an example promises and does not print.
 * @throws {Error} with its output, if one fails.
 */
export async function runExamples(node: string, folder: string, readme: string): Promise<string[]> {
  const broken: string[] = [];
  for (const [i, code] of examplesOf(readme).entries()) {
    const path = join(folder, `readme-${i}.mjs`);
    writeFileSync(path, transformSync(code, { loader: "ts", format: "esm", target: "es2022" }).code);
    const { stdout } = await run(node, [path], folder);
    broken.push(...brokenPromises(code, stdout));
  }
  return broken;
}

/** The blocks that tools/readme-examples takes: `ts` whose first line is `// example`. */
export function examplesOf(readme: string): string[] {
  return [...readme.matchAll(/^```ts\n(\/\/ example\n[\s\S]*?)^```$/gm)].map(([, code = ""]) => code);
}

/** What lines of code that end in `// -> text` promise, and no line that was printed says, in their order. */
export function brokenPromises(code: string, printed: string): string[] {
  let rest = printed.split("\n");
  return [...code.matchAll(/\/\/ -> (.*)$/gm)].flatMap(([, promise = ""]) => {
    const at = rest.findIndex((line) => line.endsWith(promise.trim()));
    if (at < 0) return promise;
    rest = rest.slice(at + 1);
    return [];
  });
}
