/** What is stored: imports, each checked before it has its name, and what the page is told of it. */
import { type ByteSource, truncatedError } from "@flashwick/core";
import {
  carriesChecksums,
  openModelFile,
  readFileKind,
  verifyModelFile,
  verifyPredictorFile,
} from "@flashwick/flash-format";
import { canShareMemory, type ModelStore } from "@flashwick/flash-io/opfs";
import { reportTo, type Task } from "./task.js";

/** The demo model of the site, so that there is something to see at once; the model last, since without it the import begins anew. */
export const BUNDLED = ["opt-demo.predictor.gguf", "opt-demo.gguf"] as const;

export async function importBundled(store: ModelStore, task: Task): Promise<void> {
  for (const name of BUNDLED) {
    if (await store.has(name)) continue;
    const url = new URL(`../models/${name}`, self.location.href).href;
    await store.importUrl(url, { name, verify, onProgress: reportTo(task, name), signal: task.signal });
  }
}

/** A file that a person has chosen. What does not run here is refused before it is copied. */
export async function importChosen(store: ModelStore, file: File, task: Task): Promise<void> {
  const source = fileSource(file);
  if ((await readFileKind(source)) === "model") await openModelFile(source);
  await store.importFile(file, { verify, onProgress: reportTo(task, file.name), signal: task.signal });
}

export async function importFrom(store: ModelStore, url: string, task: Task): Promise<void> {
  await store.importUrl(url, { verify, onProgress: reportTo(task, url), signal: task.signal });
}

/** @throws {Error} if a byte of it is not what its checksums say. */
export async function verify(source: ByteSource): Promise<void> {
  const file = (await readFileKind(source)) === "model" ? await openModelFile(source) : null;
  // A GGUF of llama.cpp carries no checksums: its header was checked as it was opened.
  if (file && !carriesChecksums(file.header)) return;
  const { ok, bad } = file ? await verifyModelFile(file) : await verifyPredictorFile(source);
  if (!ok) throw new Error(`${source.name} is damaged (${bad[0]!.kind} at byte ${bad[0]!.offset}); fetch it again`);
}

export async function tellState(store: ModelStore, { say }: Task): Promise<void> {
  const { usageBytes, quotaBytes } = await store.estimate();
  say({ kind: "state", models: await store.list(), isolated: canShareMemory(), usageBytes, quotaBytes });
}

function fileSource(file: File): ByteSource {
  return {
    name: file.name,
    sizeBytes: file.size,
    async read(target, offset) {
      const end = offset + target.byteLength;
      if (offset < 0 || end > file.size) throw truncatedError(file.name, offset, target.byteLength, file.size);
      target.set(new Uint8Array(await file.slice(offset, end).arrayBuffer()));
    },
    async close() {},
  };
}
