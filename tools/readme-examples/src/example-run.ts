/** Runs an example file in a folder of its own, and collects what it prints. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { format } from "node:util";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";

/** @returns The lines given to `console.log`. What goes to standard output directly is dropped. */
export async function runExample(path: string, code: string): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "readme-example-"));
  const before = process.cwd();
  const printed: string[] = [];
  const { log } = console;
  const { write } = process.stdout;
  try {
    if (code.includes("opt-demo.gguf")) await convertDemo(join(folder, "opt-demo.gguf"));
    process.chdir(folder);
    console.log = (...values) => printed.push(format(...values));
    process.stdout.write = () => true;
    await import(/* @vite-ignore */ path);
  } finally {
    console.log = log;
    process.stdout.write = write;
    process.chdir(before);
    rmSync(folder, { recursive: true });
  }
  return printed;
}

async function convertDemo(path: string): Promise<void> {
  const checkpoint = await openCheckpointFolder(demoModels["opt-demo"].checkpointDir);
  const sink = await fileSink(path);
  await convertCheckpoint(checkpoint, (spec) => createModelWriter(sink, spec));
}
