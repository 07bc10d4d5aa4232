/** Inputs that are kept: in the repository, and what earlier runs have found. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32c } from "@flashwick/flash-format";
import { ROOT } from "./repository-files.js";

/** The inputs that the repository keeps, a folder for each harness. */
export const CORPUS = join(ROOT, "tools/fuzz/corpus");

/** The inputs of a harness in a folder of them, by name. */
export function readInputs(folder: string, harness: string): Map<string, Uint8Array> {
  const own = join(folder, harness);
  if (!existsSync(own)) return new Map();
  return new Map(
    readdirSync(own)
      .sort()
      .map((name) => [name, new Uint8Array(readFileSync(join(own, name)))]),
  );
}

/** Writes inputs into a folder, named by their contents. @returns Where each lies. */
export function writeInputs(folder: string, harness: string, inputs: readonly Uint8Array[], prefix = ""): string[] {
  if (inputs.length === 0) return [];
  const own = join(folder, harness);
  mkdirSync(own, { recursive: true });
  return inputs.map((input) => {
    const path = join(own, `${prefix}${crc32c(input).toString(16).padStart(8, "0")}`);
    writeFileSync(path, input);
    return path;
  });
}
