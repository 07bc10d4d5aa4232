/** A predictor of one's own, from the site's text, stored beside the model under a name of its own. */
import { memorySink, writePredictorFile } from "@flashwick/flash-format";
import type { ModelStore } from "@flashwick/flash-io/opfs";
import { openStoredModel, trainHere } from "@flashwick/runtime/browser";
import { tellState, verify } from "./model-imports.js";
import type { Task } from "./task.js";

export async function train(store: ModelStore, name: string, tokens: number, task: Task): Promise<void> {
  const { say, signal } = task;
  const text = await (await fetch(new URL("../models/text.txt", self.location.href), { signal })).text();
  const model = await openStoredModel(store, name, { mode: "dense", predictor: null });
  try {
    const nLayers = model.header.geometry.layers.length;
    const predictor = await trainHere(model, {
      ...{ text, tokens, signal },
      onProgress: ({ phase, loaded, total }) => say({ kind: "progress", what: phase, loaded, total, detail: "steps" }),
      onEpoch: (layer, report) => say({ kind: "epoch", layer, nLayers, ...report }),
    });
    const sink = memorySink();
    await writePredictorFile(sink, predictor);
    const own = name.replace(/(\.gguf)?$/, ".own.predictor.gguf");
    await store.importFile(new File([Uint8Array.from(sink.committed!)], own), { replace: true, verify });
    const mean = (pick: (layer: (typeof predictor.layers)[number]) => number) =>
      predictor.layers.reduce((sum, layer) => sum + pick(layer), 0) / nLayers;
    await tellState(store, task);
    say({
      kind: "trained",
      name: own,
      recall: mean(({ recall }) => recall),
      missedMass: mean((layer) => layer.missedMass),
    });
  } finally {
    await model.close();
  }
}
