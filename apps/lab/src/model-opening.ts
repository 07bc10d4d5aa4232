/** A stored model, opened as the page's settings say. */
import { ffnBytes, type ModelGeometry, unitGrid, unitName, unitsByLayer } from "@flashwick/core";
import { devicePreset } from "@flashwick/cost-model";
import type { MapFacts } from "@flashwick/drawings";
import type { ModelStore } from "@flashwick/flash-io/opfs";
import type { ContextRange, Model } from "@flashwick/runtime";
import { openStoredModel } from "@flashwick/runtime/browser";
import type { Drafts, EngineSettings, RunFacts } from "./messages.js";
import type { Task } from "./task.js";

/** Of a conversation: a few pages of text; where the budget is small, a question and its answer. */
export const CONVERSATION: ContextRange = { most: 1024, least: 256 };

/** @param contextTokens What is reserved beyond the needs of each request. */
export async function openAsSet(
  store: ModelStore,
  name: string,
  settings: EngineSettings,
  { say }: Task,
  contextTokens?: ContextRange,
): Promise<Model> {
  const source = await store.openSource(name);
  const fileBytes = source.sizeBytes;
  await source.close();
  return await openStoredModel(store, name, {
    dramBudgetBytes: Math.floor(settings.budgetShare * fileBytes),
    contextTokens,
    policy: settings.policy ?? undefined,
    threads: settings.threads ?? "auto",
    profile: devicePreset("opfs-chromium"),
    backend: settings.backend,
    onDeviceLost: ({ message }) => {
      say({ kind: "note", message: `${message}: this run goes on with WebAssembly.` });
      return "continue";
    },
    ...(settings.windowTokens === null ? {} : { windowTokens: settings.windowTokens }),
    ...(settings.threshold === null ? {} : { threshold: settings.threshold }),
    ...(settings.predictor === null ? {} : { predictor: settings.predictor }),
    reader: settings.readers === null ? {} : { readers: settings.readers },
  });
}

/** What the page shows of a run before its first token. */
export function factsOf(model: Model, contextTokens: number, drafts: Drafts): RunFacts {
  const { geometry, weights, fileBytes } = model.header;
  const { dram, slotsByLayer, kvPrecision } = model.plan(contextTokens);
  const { readers, fallback } = model.parts.reader;
  const naiveBytesPerToken = ffnBytes(geometry, weights);
  const { backend, threads = 1 } = model.parts;
  return {
    ...mapOf(geometry),
    fileBytes,
    naiveBytesPerToken,
    mode: model.mode,
    drafts,
    backend,
    threads,
    readers,
    fallback,
    dram,
    kvPrecision,
    slotsByLayer,
  };
}

/** What a map of the units of a model is drawn from. */
export function mapOf(geometry: ModelGeometry): MapFacts {
  return {
    unit: unitName(geometry),
    nLayers: geometry.layers.length,
    dFf: unitGrid(geometry).dFf,
    unitsByLayer: unitsByLayer(geometry),
  };
}
