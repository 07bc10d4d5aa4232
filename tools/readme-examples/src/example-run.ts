/** Runs a program of an example, and collects what it prints. */
import { format } from "node:util";

/**
 * @param path   The program, a module.
 * @param folder Its working directory.
 * @returns The lines given to `console.log`. What goes to standard output directly is dropped.
 */
export async function runProgram(path: string, folder: string): Promise<string[]> {
  const before = process.cwd();
  const printed: string[] = [];
  const { log } = console;
  const { write } = process.stdout;
  try {
    process.chdir(folder);
    console.log = (...values) => printed.push(format(...values));
    process.stdout.write = () => true;
    await import(/* @vite-ignore */ path);
  } finally {
    console.log = log;
    process.stdout.write = write;
    process.chdir(before);
  }
  return printed;
}
