/** The SHA-256 of a stored model, so that whoever runs a result again knows that it is the same file. */
import type { ModelStore } from "@flashwick/flash-io/opfs";
import { piecesOf } from "./model-pull.js";
import { reportTo, type Task } from "./task.js";

/** Cost: reads the whole file, at some hundred MB/s. @throws The signal's own reason. */
export async function sha256Of(store: ModelStore, name: string, task: Task): Promise<string> {
  const { ContentCheck } = await import("@flashwick/hub");
  const source = await store.openSource(name);
  try {
    const { sizeBytes } = source;
    const check = new ContentCheck({ path: name, sizeBytes, content: { kind: "sha256", hex: "" } });
    const onProgress = reportTo(task, `SHA-256 of ${name}`);
    let loaded = 0;
    for await (const piece of piecesOf(source)) {
      task.signal.throwIfAborted();
      check.update(piece);
      loaded += piece.length;
      onProgress({ phase: "checksum", loaded, total: sizeBytes, unit: "bytes", detail: "read" });
    }
    return check.finish().sha256;
  } finally {
    await source.close();
  }
}
