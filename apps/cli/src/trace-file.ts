/** A trace that a command is given as a file. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { InputError } from "@flashwick/core";
import { decodeTrace, type NeuronTrace } from "@flashwick/dram-cache/simulate";

/** What `flashwick trace record` has written. @throws {InputError} naming the file. {FormatError} for a damaged one. */
export async function readTrace(path: string): Promise<NeuronTrace> {
  return (await readHashedTrace(path)).trace;
}

/** The same with the SHA-256, hex, of the file. */
export async function readHashedTrace(path: string): Promise<{ readonly trace: NeuronTrace; readonly hash: string }> {
  const file = await readFile(path).catch((cause: Error) => {
    throw new InputError("INPUT_INVALID", `${path}: cannot be read (${cause.message})`, { cause });
  });
  return { trace: decodeTrace(file, path), hash: createHash("sha256").update(file).digest("hex") };
}
