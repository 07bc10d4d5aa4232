/** Runs programs of the package managers, as a user's shell would. */
import { spawn } from "node:child_process";
import { readManifest, root } from "./public-packages.js";

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * @param env Beside what this process has, but for what its own package manager and test runner set.
 * @throws {Error} with everything that was printed, if it ends with another status than 0.
 */
export function run(
  program: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...strangersEnvironment(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.on("error", reject);
    child.on("close", (status) => {
      if (status === 0) resolve({ stdout, stderr });
      else reject(new Error(`${program} ${args.join(" ")} ended with ${status}\n${stdout}\n${stderr}`));
    });
  });
}

/** What is set for this run alone would change what a package manager does elsewhere. */
function strangersEnvironment(): NodeJS.ProcessEnv {
  const own =
    /^(npm_(?!config_(registry|cache|store_dir))|pnpm_|VITEST|NODE_ENV$|NODE_OPTIONS$|FORCE_COLOR$|INIT_CWD$)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)));
}

export function npm(args: readonly string[], cwd: string): Promise<CommandResult> {
  return run("npm", args, cwd);
}

/** pnpm in the version of this repository: the one that runs this, or npx's. */
export function pnpm(args: readonly string[], cwd: string): Promise<CommandResult> {
  const { npm_execpath: running = "" } = process.env;
  if (/pnpm\.c?js$/.test(running)) return run(process.execPath, [running, ...args], cwd);
  return run("npx", ["-y", readManifest(root).packageManager!, ...args], cwd);
}
