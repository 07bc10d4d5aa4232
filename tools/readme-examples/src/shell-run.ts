/** Runs the commands of a guide as a reader would, with the built command line under its name. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../../apps/cli/dist/flashwick.js", import.meta.url));

/** Why commands cannot run here; null if they can. */
export function shellMissing(): string | null {
  return existsSync(program) ? null : "apps/cli/dist is not there; run build";
}

/**
 * @param folder Their working directory.
 * @returns The lines that they print, standard output and standard error.
 * @throws {Error} with what was printed, if a command fails.
 */
export async function runCommands(commands: string, folder: string): Promise<string[]> {
  const bin = mkdtempSync(join(tmpdir(), "flashwick-bin-"));
  try {
    const command = join(bin, "flashwick");
    writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
    chmodSync(command, 0o755);
    const path = [bin, dirname(process.execPath), process.env.PATH ?? ""].join(delimiter);
    const env = { ...process.env, PATH: path, NO_COLOR: "1" };
    const { status, text } = await finished(spawn("sh", ["-eu", "-c", commands], { cwd: folder, env }));
    if (status !== 0) throw new Error(`ended with status ${status}:\n${text}`);
    return text.split("\n");
  } finally {
    rmSync(bin, { recursive: true });
  }
}

function finished(child: ReturnType<typeof spawn>): Promise<{ status: number | null; text: string }> {
  return new Promise((resolve, reject) => {
    let text = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
    }
    child.on("error", reject).on("close", (status) => resolve({ status, text }));
  });
}
