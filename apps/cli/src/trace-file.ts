/** A trace that a command is given as a file. */
import { readFile } from "node:fs/promises";
import { InputError } from "@flashwick/core";
import { decodeTrace, type NeuronTrace } from "@flashwick/dram-cache/simulate";

/** What `flashwick trace record` has written. @throws {InputError} naming the file. {FormatError} for a damaged one. */
export async function readTrace(path: string): Promise<NeuronTrace> {
  const file = await readFile(path).catch((cause: Error) => {
    throw new InputError("INPUT_INVALID", `${path}: cannot be read (${cause.message})`, { cause });
  });
  return decodeTrace(file, path);
}
