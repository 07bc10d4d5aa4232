/** A model from a hub into the page's storage: planned from its header first, by the code of `flashwick pull`, and checked against what the hub lists. */
import { type ByteSource, formatBytes, isFlashwickError, MiB, UnsupportedError } from "@flashwick/core";
import { devicePreset, type RunPlan } from "@flashwick/cost-model";
import { type ModelHeader, openModelFile } from "@flashwick/flash-format";
import type { ModelStore } from "@flashwick/flash-io/opfs";
import type { HubFile, HubModel, HubRepository } from "@flashwick/hub";
import { poolScratch } from "@flashwick/kernels-wasm";
import { estimate } from "@flashwick/runtime";
import { verify } from "./model-imports.js";
import { reportTo, type Task } from "./task.js";

/** What the page begins with: half of the file. */
const BUDGET_SHARE = 0.5;
const PIECE_BYTES = 4 * MiB;

/**
 * @param what     `<owner>/<repository>`, or `<owner>/<repository>/<file>`.
 * @param endpoint Of a mirror; null: the hub itself.
 */
export async function pullModel(store: ModelStore, what: string, endpoint: string | null, task: Task): Promise<void> {
  // Most visits ask nothing of a hub.
  const { ContentCheck, findModels, openRepository, parseModelAddress } = await import("@flashwick/hub");
  const { repository: name, path } = parseModelAddress(what);
  const repository = await openRepository(name, { endpoint: endpoint ?? undefined, signal: task.signal });
  const model = onlyModel(name, findModels(repository, path));
  const file = model.files[0]!;
  task.say({ kind: "note", message: await planOf(repository, file) });
  await store.importUrl(repository.url(file), {
    name: model.localName,
    fetch: repository.fetch,
    onProgress: reportTo(task, model.localName),
    signal: task.signal,
    async verify(source) {
      const check = new ContentCheck(file);
      for await (const piece of piecesOf(source)) check.update(piece);
      check.demand(source.name);
      await verify(source);
    },
  });
  task.say({ kind: "pulled", model: model.localName, from: `${name}/${model.path}` });
}

/** @throws {UnsupportedError} for what a page cannot keep or run. {Error} naming the models where there are several. */
function onlyModel(repository: string, models: readonly HubModel[]): HubModel {
  if (models.length > 1) {
    const rows = models.map((model) => `${repository}/${model.path} (${formatBytes(model.sizeBytes)})`);
    throw new Error(`${repository} has ${models.length} models; give one of them: ${rows.join(", ")}`);
  }
  const model = models[0]!;
  const isSplit = model.files.filter(({ path }) => /-\d{5}-of-\d{5}\.gguf$/.test(path)).length > 1;
  if (model.kind === "gguf" && !isSplit) return model;
  const form = isSplit ? "a model in several files" : "a checkpoint";
  const advice = isSplit ? "give one in a single file" : "give a GGUF file, or convert it with flashwick";
  throw new UnsupportedError("UNSUPPORTED_FEATURE", `${repository}: expected one GGUF file, found ${form}; ${advice}`);
}

/** What does not run here is refused by its header. */
async function planOf(repository: HubRepository, file: HubFile): Promise<string> {
  const source = await repository.open(file);
  try {
    const { header } = await openModelFile(source);
    const { memory, cost } = planWithin(header, Math.floor(BUDGET_SHARE * file.sizeBytes));
    const speed = `${cost.tokensPerSec.toFixed(1)} tokens a second are expected within ${formatBytes(memory.dram.budget)}`;
    return `${file.path}, ${formatBytes(file.sizeBytes)}: it needs at least ${formatBytes(memory.smallestBudgetBytes)} of memory; ${speed}.`;
  } finally {
    await source.close();
  }
}

/** Within a budget, or the smallest that works. */
function planWithin(header: ModelHeader, dramBudgetBytes: number): RunPlan {
  try {
    return estimate(header, { profile: devicePreset("opfs-chromium"), dramBudgetBytes, scratch: poolScratch });
  } catch (error) {
    if (!isFlashwickError(error) || error.code !== "BUDGET_TOO_SMALL") throw error;
    return planWithin(header, error.details.smallestBudgetBytes as number);
  }
}

/** A file from its beginning; each piece is overwritten by the next. */
export async function* piecesOf(source: ByteSource): AsyncGenerator<Uint8Array, void, void> {
  const piece = new Uint8Array(Math.min(PIECE_BYTES, source.sizeBytes));
  for (let at = 0; at < source.sizeBytes; at += piece.length) {
    const target = piece.subarray(0, Math.min(piece.length, source.sizeBytes - at));
    await source.read(target, at);
    yield target;
  }
}
